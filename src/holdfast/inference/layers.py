"""Layers in the order in which a network runs them, found by watching one forward pass.

Definition order is not running order, and a module does not say which of its parameters are weights of a linear map.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from holdfast.inference.noise import LAYERS, layer_arguments


@dataclass(frozen=True)
class Layer:
    """One call of a linear map.

    Attributes:
        function: `torch.nn.functional.linear` or a convolution.
        weight, bias: names of its parameters; None for a bias that is absent or no parameter.
        groups: of a convolution.
    """

    function: Callable
    weight: str
    bias: str | None
    groups: int = 1


def layers_in_order(network: nn.Module, weights: Mapping[str, Tensor], image: Tensor) -> list[Layer]:
    """Every linear or convolutional call on parameters among `weights`, in the order of one forward pass."""
    with torch.no_grad(), _Watch(weights) as watch:
        functional_call(network, dict(weights), (image,))
    return watch.layers


class _Watch(TorchFunctionMode):
    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names = {id(v): k for k, v in weights.items()}
        self.layers: list[Layer] = []

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in LAYERS:
            _, weight, bias, rest, options = layer_arguments(args, kwargs)
            if id(weight) in self.names:
                groups = rest[3] if len(rest) > 3 else options.get("groups", 1)  # fourth by place, transposed or not
                self.layers.append(Layer(func, self.names[id(weight)], self.names.get(id(bias)), groups))
        return func(*args, **kwargs)
