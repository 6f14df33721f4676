"""conv: two convolutions and a linear layer, the convolutional network of the papers.

    Conv(channels, 16, 5x5), activation, MaxPool(2),
    Conv(16, width, 5x5), activation, MaxPool(2, stride 1), Flatten, Linear

as the code of Carbone et al. 2022 (arXiv:2102.11010) builds it; the table printed there has other first channels.
"""

from collections import OrderedDict

import torch
from torch import nn

from holdfast.networks.activation import Activation, activation_module
from holdfast.networks.check import check_architecture, check_image_shape
from holdfast.networks.initialise import initialise
from holdfast.networks.recipe import leaves_recipe


@leaves_recipe
def conv(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: int = 512,
    activation: Activation = "leaky_relu",
    seed: int = 0,
) -> nn.Sequential:
    """Make the network, with He-scaled weights.

    Args:
        shape: shape of one image, channels first, at least 16 pixels a side.
        classes: how many classes, at least 2.
        width: channels of the second convolution (512 for MNIST and 1024 for Fashion-MNIST in the paper).
        activation: "leaky_relu" (slope 0.01, as in the papers' code) or "relu".
        seed: of the initial weights.

    >>> sum(p.numel() for p in conv((1, 28, 28), 10).parameters())
    456618
    """
    check_architecture("networks.conv", shape, classes, width)
    check_image_shape("networks.conv", shape, smallest=16)
    height, breadth = ((side - 4) // 2 - 5 for side in shape[1:])
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(shape[0], 16, 5),
                activation1=activation_module(activation),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(16, width, 5),
                activation2=activation_module(activation),
                pool2=nn.MaxPool2d(2, stride=1),
                flatten=nn.Flatten(),
                output=nn.Linear(width * height * breadth, classes),
            )
        )
    return initialise(network, seed)
