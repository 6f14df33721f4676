"""Activations by name."""

from typing import Literal

from torch import nn

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid"]


def activation_module(name: Activation) -> nn.Module:
    """The activation as a module: "leaky_relu" is `max(z, 0.01 z)`.

    Raises:
        ValueError: for any other name.

    >>> activation_module("leaky_relu")
    LeakyReLU(negative_slope=0.01)
    """
    made = {"relu": nn.ReLU, "leaky_relu": lambda: nn.LeakyReLU(0.01), "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    if name not in made:
        raise ValueError(f"activation: expected {', '.join(map(repr, made))}, got {name!r}.")
    return made[name]()
