"""Learnable layers: the linear maps of a network, which the papers number."""

from torch import nn


def learnable_layers(network: nn.Module) -> list[str]:
    """Names of the linear and convolutional layers, in order of their registration.

    >>> learnable_layers(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)))
    ['0', '2']
    """
    return [n for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)]
