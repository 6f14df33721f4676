"""resnet2b: a small residual network without normalisation, from the verification literature.

    Conv(channels, 8, 3x3, stride 2, padding 1), ReLU, two blocks with 16 channels, Flatten, Linear(inputs, 100), ReLU,
    Linear(100, classes)

A block is relu(shortcut(x) + Conv(relu(Conv(x)))) with 3x3 convolutions; the first halves the image and has a 1x1
convolution of stride 2 on its shortcut. "ResNet-2B" of Wang et al. 2021 (Beta-CROWN, arXiv:2103.06624).
"""

import torch
from torch import Tensor, nn

from holdfast.networks.check import check_architecture, check_image_shape
from holdfast.networks.initialise import initialise
from holdfast.networks.recipe import leaves_recipe


@leaves_recipe
def resnet2b(shape: tuple[int, int, int], classes: int, *, hidden: int = 100, seed: int = 0) -> nn.Module:
    """Make the network, with He-scaled weights.

    Args:
        shape: shape of one image, channels first, at least 4 pixels a side.
        classes: how many classes, at least 2.
        hidden: units of the first linear layer.
        seed: of the initial weights.

    >>> sum(p.numel() for p in resnet2b((3, 32, 32), 10).parameters())
    112006
    """
    check_architecture("networks.resnet2b", shape, classes, hidden)
    check_image_shape("networks.resnet2b", shape, smallest=4)
    with torch.random.fork_rng(devices=[]):
        network = ResNet2B(shape, classes, hidden)
    return initialise(network, seed)


class ResNet2B(nn.Module):
    """See `resnet2b`."""

    def __init__(self, shape: tuple[int, int, int], classes: int, hidden: int) -> None:
        super().__init__()
        height, breadth = (-(-side // 4) for side in shape[1:])
        self.conv1 = nn.Conv2d(shape[0], 8, 3, stride=2, padding=1)
        self.relu1 = nn.ReLU()
        self.layer1 = nn.Sequential(PlainBlock(8, 16, stride=2), PlainBlock(16, 16, stride=1))
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(16 * height * breadth, hidden)
        self.relu2 = nn.ReLU()
        self.linear2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, C, H, W]` to logits `[B, classes]`."""
        x = self.layer1(self.relu1(self.conv1(x)))
        return self.linear2(self.relu2(self.linear1(self.flatten(x))))


class PlainBlock(nn.Module):
    """Two convolutions and a shortcut without normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        changed = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride)) if changed else nn.Identity()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps to feature maps."""
        return self.relu2(self.conv2(self.relu1(self.conv1(x))) + self.shortcut(x))
