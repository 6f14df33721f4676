"""Small networks for the tests, each as a module and as the list of steps of the slow rewrite."""

import torch
import torch.nn.functional as F
from slow_rewrite import Add, Affine, Cat, Linear, MaxPool, Same, Scale
from torch import nn


def settle(network, seed=0):
    """Random weights, biases and running statistics of both signs, in float64, in evaluation mode."""
    g = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    with torch.no_grad():
        for name, p in (*network.named_parameters(), *network.named_buffers()):
            if not p.is_floating_point():
                continue
            draw = torch.randn(p.shape, generator=g, dtype=p.dtype)
            if name.endswith("running_var"):
                p.copy_(0.5 + draw.abs())
            elif p.ndim > 1:
                p.copy_(draw * (2 / p[0].numel()) ** 0.5)
            else:
                p.copy_(0.3 * draw + (1.0 if name.endswith("weight") else 0.0))
    return network


class Strided(nn.Module):
    """Strides, dilation, groups, padding; ReLU and LeakyReLU; max and average pooling."""

    shape = (2, 9, 9)

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.c2 = nn.Conv2d(4, 4, 2, dilation=2, groups=2, padding=1)
        self.c3 = nn.Conv2d(4, 6, 1, groups=2)
        self.f1 = nn.Linear(24, 7)
        self.f2 = nn.Linear(7, 4)

    def forward(self, x):
        h = F.leaky_relu(self.c1(x), 0.1)
        h = F.max_pool2d(h, 2, 1)
        h = F.relu(self.c2(h), inplace=True)
        h = F.avg_pool2d(self.c3(h).relu(), 3, stride=1, padding=1)
        h = F.max_pool2d(h, 2, 2)
        return self.f2(torch.relu(self.f1(h.flatten(1))))

    def steps(self):
        pool = lambda t: F.avg_pool2d(t, 3, stride=1, padding=1)
        return [
            Affine("x", "1", self.c1),
            Same("1", "2", lambda t: F.leaky_relu(t, 0.1)),
            MaxPool("2", "3", 2, 1),
            Affine("3", "4", self.c2),
            Same("4", "5", F.relu),
            Affine("5", "6", self.c3),
            Same("6", "7", F.relu),
            Linear("7", "8", pool, share=True),
            MaxPool("8", "9", 2, 2),
            Linear("9", "10", lambda t: t.flatten(1)),
            Affine("10", "11", self.f1),
            Same("11", "12", F.relu),
            Affine("12", "13", self.f2),
        ]


class Residual(nn.Module):
    """Batch norm, a reused module, functional + and in-place ReLU, a 1x1 shortcut, global pooling."""

    shape = (1, 6, 6)

    def __init__(self):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.c2, self.b2 = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4)
        self.short, self.b3 = nn.Conv2d(3, 4, 1, stride=2, bias=False), nn.BatchNorm2d(4, affine=False)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        h = self.act(self.b1(self.c1(x)))
        h = self.act(self.again(h))
        h = self.act(self.again(h) + h)
        k = self.b2(self.c2(h))
        k += self.b3(self.short(h))
        return self.fc(F.adaptive_avg_pool2d(self.act(k), 1).flatten(1))

    def steps(self):
        return [
            Affine("x", "1", self.c1, self.b1),
            Same("1", "2", F.relu),
            Affine("2", "3", self.again),
            Same("3", "4", F.relu),
            Affine("4", "5", self.again),
            Add("5", "4", "6"),
            Same("6", "7", F.relu),
            Affine("7", "8", self.c2, self.b2),
            Affine("7", "9", self.short, self.b3),
            Add("8", "9", "10"),
            Same("10", "11", F.relu),
            Linear("11", "12", lambda t: t.mean((2, 3)), share=True),
            Affine("12", "13", self.fc),
        ]


class Dense(nn.Module):
    """Concatenation and batch norms that stand before their convolution."""

    shape = (2, 5, 5)

    def __init__(self):
        super().__init__()
        self.c0 = nn.Conv2d(2, 3, 3, padding=1)
        self.n1, self.c1 = nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1, bias=False)
        self.n2, self.c2 = nn.BatchNorm2d(5), nn.Conv2d(5, 2, 3, padding=1)
        self.fc = nn.Linear(7, 3)

    def forward(self, x):
        h = F.relu(self.c0(x))
        h = torch.cat([h, self.c1(F.relu(self.n1(h)))], 1)
        h = torch.cat((h, self.c2(F.relu(self.n2(h)))), dim=1)
        return self.fc(h.mean(dim=(2, 3)))

    def steps(self):
        return [
            Affine("x", "1", self.c0),
            Same("1", "2", F.relu),
            Scale("2", "3", self.n1),
            Same("3", "4", F.relu),
            Affine("4", "5", self.c1),
            Cat(["2", "5"], "6"),
            Scale("6", "7", self.n2),
            Same("7", "8", F.relu),
            Affine("8", "9", self.c2),
            Cat(["6", "9"], "10"),
            Linear("10", "11", lambda t: t.mean((2, 3)), share=True),
            Affine("11", "12", self.fc),
        ]


class Transposed(nn.Module):
    """Transposed convolution with groups and a batch norm; padding in words; one and three dimensions elsewhere."""

    shape = (2, 4, 4)

    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(2, 4, 2, padding="same")
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.norm = nn.BatchNorm2d(6)
        self.c2 = nn.Conv2d(6, 3, 3, padding="valid")
        self.c3 = nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect")
        self.fc = nn.Linear(72, 3)

    def forward(self, x):
        h = self.c1(x).clamp(min=0)
        h = F.elu(self.norm(self.up(h)))
        h = F.silu(self.c3(torch.tanh(self.c2(h))))
        return self.fc(h.reshape(len(x), -1))

    def steps(self):
        plain = nn.Conv2d(3, 2, 3).double()
        plain.load_state_dict(self.c3.state_dict())
        mirror = lambda t: F.pad(t, (1, 1, 1, 1), mode="reflect")
        return [
            Affine("x", "1", self.c1),
            Same("1", "2", F.relu),
            Affine("2", "3", self.up, self.norm),
            Same("3", "4", F.elu),
            Affine("4", "5", self.c2),
            Same("5", "6", torch.tanh),
            Linear("6", "mirrored", mirror),
            Affine("mirrored", "7", plain),
            Same("7", "8", F.silu),
            Linear("8", "9", lambda t: t.flatten(1)),
            Affine("9", "10", self.fc),
        ]


class OneAndThree(nn.Module):
    """Convolutions in one and three dimensions, a batch norm after a linear map, permutations and indexing."""

    shape = (2, 3, 4, 4)

    def __init__(self):
        super().__init__()
        self.c3 = nn.Conv3d(2, 3, (2, 3, 2), stride=(1, 2, 1), padding=(0, 1, 0))
        self.c1 = nn.Conv1d(3, 4, 3, padding=1, groups=1)
        self.fc = nn.Linear(20, 6)
        self.norm = nn.BatchNorm1d(6)
        self.out = nn.Linear(6, 3)

    def _shape(self, h):
        return h.permute(0, 1, 3, 4, 2).flatten(2)[..., 1:11:2]

    def forward(self, x):
        h = F.relu(self.c3(x))
        h = F.relu(self.c1(self._shape(h)))
        return self.out(self.norm(self.fc(h.view(len(x), -1))).relu())

    def steps(self):
        return [
            Affine("x", "1", self.c3),
            Same("1", "2", F.relu),
            Linear("2", "3", self._shape),
            Affine("3", "4", self.c1),
            Same("4", "5", F.relu),
            Linear("5", "6", lambda t: t.flatten(1)),
            Affine("6", "7", self.fc, self.norm),
            Same("7", "8", F.relu),
            Affine("8", "9", self.out),
        ]


NETWORKS = {c.__name__: c for c in (Strided, Residual, Dense, Transposed, OneAndThree)}
