"""compact: three strided residual stages, a network for small images that trains in minutes on one core.

    Conv(channels, a, 3x3, stride 2), BatchNorm, ReLU, three blocks with a, 2a and 4a channels, mean over pixels, Linear

A block is relu(shortcut(x) + BatchNorm(Conv(relu(BatchNorm(Conv(x)))))), with 3x3 convolutions without bias; blocks two
and three halve the image. Blocks and shortcuts are those of `resnet` (He et al. 2015, arXiv:1512.03385).
"""

from collections import OrderedDict

import torch
from torch import nn

from holdfast.networks.check import check_architecture, check_image_shape
from holdfast.networks.initialise import initialise
from holdfast.networks.recipe import leaves_recipe
from holdfast.networks.resnet import Block


@leaves_recipe
def compact(shape: tuple[int, int, int], classes: int, *, width: int = 16, seed: int = 0) -> nn.Sequential:
    """Make the network, with He-scaled weights.

    Args:
        shape: shape of one image, channels first, at least 8 pixels a side.
        classes: how many classes, at least 2.
        width: channels of the first stage, an even number.
        seed: of the initial weights.

    >>> sum(p.numel() for p in compact((1, 56, 56), 5).parameters())
    74677
    """
    check_architecture("networks.compact", shape, classes, width)
    check_image_shape("networks.compact", shape, smallest=8)
    if width % 2:
        raise ValueError(f"networks.compact: width must be even, for the zeros of the shortcuts, got {width}.")
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(shape[0], width, 3, stride=2, padding=1, bias=False),
                norm=nn.BatchNorm2d(width),
                relu=nn.ReLU(),
                block1=Block(width, width, nn.BatchNorm2d),
                block2=Block(width, 2 * width, nn.BatchNorm2d),
                block3=Block(2 * width, 4 * width, nn.BatchNorm2d),
                pool=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                output=nn.Linear(4 * width, classes),
            )
        )
    return initialise(network, seed)
