"""resnet: the residual networks of He et al. 2015 for small images (arXiv:1512.03385, section 4.2).

    Conv(channels, 16), BatchNorm, ReLU, three stages of n blocks with 16, 32 and 64 channels, mean over pixels, Linear

A block is relu(shortcut(x) + BatchNorm(Conv(relu(BatchNorm(Conv(x)))))), with 3x3 convolutions without bias; the first
block of stages two and three halves the image. Its shortcut is option A: every second pixel, and zeros for the new
channels, half before and half after. 6 n + 2 layers: n = 3 is ResNet-20, n = 9 is ResNet-56. For posteriors over the
weights, BatchNorm gives way to `FilterResponseNorm`, which ties no image to the others of its batch.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.networks.check import check_architecture, check_image_shape
from holdfast.networks.filter_response import FilterResponseNorm
from holdfast.networks.initialise import initialise
from holdfast.networks.recipe import leaves_recipe

Norm = Literal["batch", "filter_response"]
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "filter_response": FilterResponseNorm}


@leaves_recipe
def resnet(
    shape: tuple[int, int, int], classes: int, *, depth: int = 20, norm: Norm = "batch", seed: int = 0
) -> nn.Module:
    """Make the network, with He-scaled weights.

    Args:
        shape: shape of one image, channels first, at least 4 pixels a side.
        classes: how many classes, at least 2.
        depth: 6 n + 2 layers: 20, 32, 44, 56, 110.
        norm: "batch", or "filter_response", see `FilterResponseNorm`.
        seed: of the initial weights.

    >>> sum(p.numel() for p in resnet((3, 32, 32), 10, depth=20).parameters())
    269722
    """
    check_architecture("networks.resnet", shape, classes, depth)
    check_image_shape("networks.resnet", shape, smallest=4)
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"networks.resnet: depth must be 6 n + 2, such as 20 or 56, got {depth}.")
    if norm not in NORMS:
        raise ValueError(f"networks.resnet: norm must be one of {get_args(Norm)}, got {norm!r}.")
    with torch.random.fork_rng(devices=[]):
        network = ResNet(shape[0], classes, (depth - 2) // 6, NORMS[norm])
    return initialise(network, seed)


class ResNet(nn.Module):
    """See `resnet`."""

    def __init__(self, channels: int, classes: int, blocks: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = norm(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(16, 16, blocks, norm)
        self.layer2 = _stage(16, 32, blocks, norm)
        self.layer3 = _stage(32, 64, blocks, norm)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, C, H, W]` to logits `[B, classes]`."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.flatten(self.pool(x)))


class Block(nn.Module):
    """Two convolutions and a shortcut, see the module's docstring."""

    def __init__(self, inputs: int, outputs: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = norm(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = norm(outputs)
        self.shortcut = nn.Identity() if stride == 1 else SubsampleAndPad((outputs - inputs) // 2)
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps to feature maps."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x))


class SubsampleAndPad(nn.Module):
    """Every second pixel, with `extra` channels of zeros before and after."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps `[B, C, H, W]` to `[B, C + 2 extra, H / 2, W / 2]`."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))


def _stage(inputs: int, outputs: int, blocks: int, norm: Callable[[int], nn.Module]) -> nn.Sequential:
    first = Block(inputs, outputs, norm)
    return nn.Sequential(OrderedDict((str(i), Block(outputs, outputs, norm) if i else first) for i in range(blocks)))
