"""Activations by name."""

from typing import Literal

from torch import nn

Activation = Literal["relu", "leaky_relu"]


def activation_module(name: Activation) -> nn.Module:
    """The activation as a module: "relu" is `max(z, 0)`, "leaky_relu" is `max(z, 0.01 z)`.

    Raises:
        ValueError: for any other name.

    >>> activation_module("leaky_relu")
    LeakyReLU(negative_slope=0.01)
    """
    if name == "relu":
        return nn.ReLU()
    if name == "leaky_relu":
        return nn.LeakyReLU(0.01)
    raise ValueError(f"activation: expected 'relu' or 'leaky_relu', got {name!r}.")
