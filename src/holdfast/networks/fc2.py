"""fc2: two hidden layers of equal width, the fully connected network of the papers.

    Flatten, Linear(inputs, width), activation, Linear(width, width), activation, Linear(width, classes)

Carbone et al. 2020 (arXiv:2002.04359) and Carbone et al. 2022 (arXiv:2102.11010), as their code builds it.
"""

import math
from collections import OrderedDict

import torch
from torch import nn

from holdfast.networks.activation import Activation, activation_module
from holdfast.networks.check import check_architecture
from holdfast.networks.initialise import initialise
from holdfast.networks.recipe import leaves_recipe


@leaves_recipe
def fc2(
    shape: tuple[int, ...],
    classes: int,
    *,
    width: int = 512,
    activation: Activation = "leaky_relu",
    seed: int = 0,
) -> nn.Sequential:
    """Make the network, with He-scaled weights.

    Args:
        shape: shape of one input: `(1, 28, 28)` for MNIST, `(2,)` for half moons.
        classes: how many classes, at least 2.
        width: units in each hidden layer.
        activation: "leaky_relu" (slope 0.01, as in the papers' code) or "relu".
        seed: of the initial weights.

    >>> sum(p.numel() for p in fc2((1, 28, 28), 10).parameters())
    669706
    >>> fc2((2,), 2, width=32)(torch.rand(5, 2)).shape
    torch.Size([5, 2])
    """
    check_architecture("networks.fc2", shape, classes, width)
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                linear1=nn.Linear(math.prod(shape), width),
                activation1=activation_module(activation),
                linear2=nn.Linear(width, width),
                activation2=activation_module(activation),
                output=nn.Linear(width, classes),
            )
        )
    return initialise(network, seed)
