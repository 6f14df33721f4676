"""small: two strided convolutions and two linear layers, the network of many certified and adversarial checkpoints.

    Conv(channels, a, 4x4, stride 2, padding), ReLU, Conv(a, b, 4x4, stride 2, padding), ReLU, Flatten,
    Linear(inputs, hidden), ReLU, Linear(hidden, classes)

Wong and Kolter 2018 (arXiv:1711.00851). Layers are numbered, so that published state dicts fit as they are.
"""

import torch
from torch import nn

from holdfast.networks.check import check_architecture, check_image_shape
from holdfast.networks.initialise import initialise
from holdfast.networks.recipe import leaves_recipe


@leaves_recipe
def small(
    shape: tuple[int, int, int],
    classes: int,
    *,
    channels: tuple[int, int] = (16, 32),
    hidden: int = 100,
    padding: int = 1,
    seed: int = 0,
) -> nn.Sequential:
    """Make the network, with He-scaled weights.

    Args:
        shape: shape of one image, channels first, at least 8 pixels a side.
        classes: how many classes, at least 2.
        channels: of the two convolutions.
        hidden: units of the first linear layer.
        padding: of both convolutions.
        seed: of the initial weights.

    >>> small((1, 28, 28), 10)[5]
    Linear(in_features=1568, out_features=100, bias=True)
    """
    check_architecture("networks.small", shape, classes, hidden)
    check_image_shape("networks.small", shape, smallest=8)
    first, second = channels
    halved = lambda side: (side + 2 * padding - 4) // 2 + 1
    height, breadth = (halved(halved(side)) for side in shape[1:])
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(
            nn.Conv2d(shape[0], first, 4, stride=2, padding=padding),
            nn.ReLU(),
            nn.Conv2d(first, second, 4, stride=2, padding=padding),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second * height * breadth, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )
    return initialise(network, seed)
