"""Build a network by its name: what a command line, a saved manifest or a study calls."""

from typing import Any

from torch import nn

from holdfast.networks.compact import compact
from holdfast.networks.conv import conv
from holdfast.networks.fc2 import fc2
from holdfast.networks.lenet import lenet
from holdfast.networks.mlp import mlp
from holdfast.networks.resnet import resnet
from holdfast.networks.resnet2b import resnet2b
from holdfast.networks.small import small

NETWORKS = {factory.__name__: factory for factory in (fc2, mlp, conv, small, lenet, compact, resnet, resnet2b)}


def build(name: str, shape: tuple[int, ...], classes: int, **settings: Any) -> nn.Module:
    """Make the network called `name`; `settings` go to its factory.

    Raises:
        ValueError: for an unknown name, or settings that the factory refuses.
        TypeError: for a setting that the factory does not have.

    >>> build("fc2", (2,), 2, width=8)[1]
    Linear(in_features=2, out_features=8, bias=True)
    """
    if name not in NETWORKS:
        raise ValueError(f"networks.build: no network called {name!r}; there are {', '.join(sorted(NETWORKS))}.")
    return NETWORKS[name](tuple(shape), classes, **settings)
