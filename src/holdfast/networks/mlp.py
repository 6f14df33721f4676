"""mlp: any number of hidden layers of equal width, for grids over depth, width and activation.

    Flatten, [Linear(inputs or width, width), activation] x depth, Linear(width, classes)

The networks of the accuracy-robustness grid of Carbone et al. 2020 (arXiv:2002.04359); with two layers it is `fc2`.
"""

import math
from itertools import pairwise

import torch
from torch import nn

from holdfast.checks import check_count
from holdfast.networks.activation import Activation, activation_module
from holdfast.networks.check import check_architecture
from holdfast.networks.initialise import initialise
from holdfast.networks.recipe import leaves_recipe


@leaves_recipe
def mlp(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 2,
    width: int = 128,
    activation: Activation = "relu",
    seed: int = 0,
) -> nn.Sequential:
    """Make the network, with He-scaled weights.

    Args:
        shape: shape of one input.
        classes: how many classes, at least 2.
        depth: hidden layers.
        width: units in each of them.
        activation: "relu", "leaky_relu", "tanh" or "sigmoid".
        seed: of the initial weights.

    >>> [type(layer).__name__ for layer in mlp((1, 4, 4), 3, depth=1, width=8, activation="tanh")]
    ['Flatten', 'Linear', 'Tanh', 'Linear']
    """
    check_architecture("networks.mlp", shape, classes, width)
    check_count("networks.mlp", "depth", depth)
    sizes = [math.prod(shape), *[width] * depth]
    with torch.random.fork_rng(devices=[]):
        hidden = [
            layer for into, out in pairwise(sizes) for layer in (nn.Linear(into, out), activation_module(activation))
        ]
        network = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, classes))
    return initialise(network, seed)
