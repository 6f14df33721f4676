"""Small problems that the tests of this room share."""

import torch
from torch import nn

from holdfast.data import Split


def blobs(count=240, shape=(4,), classes=3, seed=0, dtype=torch.float32):
    """Noisy images around one centre for each class, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand((classes, *shape), generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    labels = torch.randint(0, classes, (count,), generator=generator)
    noise = torch.randn((count, *shape), generator=generator, dtype=torch.float64)
    return Split((centres[labels] + 0.1 * noise).clamp(0, 1).to(dtype), labels)


def accuracy(ensemble, split):
    return float((ensemble.predict(split.images) == split.labels).double().mean())


class Residual(nn.Module):
    """Convolutions, batch normalisation, dropout, a functional sum and a layer used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.twice = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(4 * 36, 3)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        x = x + torch.relu(self.norm(self.twice(x)))
        return self.out(self.drop(self.twice(x)).flatten(1))
