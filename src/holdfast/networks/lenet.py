"""lenet: two convolutions with pooling and two linear layers, the MNIST network of advertorch's checkpoints.

Conv(channels, 32, 3x3, padding 1), ReLU, MaxPool(2), Conv(32, 64, 3x3, padding 1), ReLU, MaxPool(2), Flatten,
Linear(inputs, 200), ReLU, Linear(200, classes)
"""

from collections import OrderedDict

import torch
from torch import nn

from holdfast.networks.check import check_architecture, check_image_shape
from holdfast.networks.initialise import initialise
from holdfast.networks.recipe import leaves_recipe


@leaves_recipe
def lenet(shape: tuple[int, int, int], classes: int, *, hidden: int = 200, seed: int = 0) -> nn.Sequential:
    """Make the network, with He-scaled weights.

    Args:
        shape: shape of one image, channels first, at least 4 pixels a side.
        classes: how many classes, at least 2.
        hidden: units of the first linear layer.
        seed: of the initial weights.

    >>> sum(p.numel() for p in lenet((1, 28, 28), 10).parameters())
    648226
    """
    check_architecture("networks.lenet", shape, classes, hidden)
    check_image_shape("networks.lenet", shape, smallest=4)
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(shape[0], 32, 3, padding=1),
                relu1=nn.ReLU(),
                maxpool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(32, 64, 3, padding=1),
                relu2=nn.ReLU(),
                maxpool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                linear1=nn.Linear(64 * (shape[1] // 4) * (shape[2] // 4), hidden),
                relu3=nn.ReLU(),
                linear2=nn.Linear(hidden, classes),
            )
        )
    return initialise(network, seed)
