"""Smoothing: the same ensemble with softplus in the place of ReLU, so that explanations have a useful derivative.

    relu(z) -> softplus_b(z) = log(1 + exp(b z)) / b

A network of ReLUs is piecewise linear: its gradients do not change within a piece, and an attack that follows the
derivative of a gradient map sees nothing. Dombrowski et al. 2019 (arXiv 1906.07983) attack the smoothed network, whose
`b` may grow on the way, and show the image to the original one. A LeakyReLU of slope s becomes `s z + (1 - s)
softplus_b(z)`.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, leaky_relu_, relu, relu_, softplus
from torch.overrides import TorchFunctionMode

from holdfast.checks import check_range
from holdfast.ensemble import Ensemble

AUTO = (5.0, 100.0)  # first and last beta of a smoothed start


def smoothed(ensemble: Ensemble, beta: float) -> Ensemble:
    """The ensemble with every ReLU and LeakyReLU smoothed, module or function; larger `beta` is closer to the original.

    The smoothed network raises ValueError when it is called and has nothing to smooth, or calls a function that changes
    its input in place.

    >>> ensemble = Ensemble.from_networks(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    >>> smoothed(ensemble, 10).network
    Sequential(
      (0): Linear(in_features=2, out_features=2, bias=True)
      (1): Smooth(slope=0, beta=10)
    )
    """
    check_range("smoothed", "beta", beta, 0, 1e6, open_low=True)
    network, count = copy.deepcopy(ensemble.network), 0
    for module in list(network.modules()):
        for name, child in module._modules.items():  # named_children leaves out what has two names
            if isinstance(child, nn.ReLU | nn.LeakyReLU):
                module._modules[name] = Smooth(getattr(child, "negative_slope", 0), beta)
                count += 1
    kind = type(network)

    def forward(self: nn.Module, *args: Any) -> Tensor:
        with Functions(beta) as functions:
            logits = kind.forward(self, *args)
        if not count and not functions.count:
            raise ValueError(
                "smoothed: found no ReLU or LeakyReLU to smooth; attack without smoothing (beta=None) where the "
                "network is smooth already."
            )
        return logits

    network.__class__ = type(kind.__name__, (kind,), {"forward": forward})  # names and weights stay what they were
    return replace(ensemble, network=network.eval())


def check_beta(call: str, beta: float | tuple[float, float] | str | None) -> None:
    """`beta` must be a positive number, a pair of them, None or "auto"."""
    pair = isinstance(beta, tuple | list) and len(beta) == 2
    if beta is not None and beta != "auto" and not pair and not isinstance(beta, int | float):
        raise ValueError(f"{call}: beta must be a number, a pair of them, None or 'auto', got {beta!r}.")
    for value in beta if pair else [beta] if isinstance(beta, int | float) else []:
        check_range(call, "beta", value, 0, 1e6, open_low=True)


def betas_of(beta: float | tuple[float, float] | str | None, steps: int, restart: int) -> list[float | None]:
    """The sharpness at every step of a start, growing geometrically along a pair; None: not smoothed.

    >>> betas_of((1.0, 100.0), 3, restart=0), betas_of("auto", 2, restart=0), betas_of("auto", 2, restart=1)
    ([1.0, 10.0, 100.0], [None, None], [5.0, 100.0])
    """
    if beta == "auto":
        beta = AUTO if restart % 2 else None
    if beta is None or isinstance(beta, int | float):
        return [beta] * steps
    first, last = beta
    return [first * (last / first) ** (i / max(1, steps - 1)) for i in range(steps)]


class Functions(TorchFunctionMode):
    """While it is active, what is called as a function is smoothed too."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta, self.count = beta, 0

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, or what stands for it."""
        if function in FUNCTIONS:
            self.count += 1
            return FUNCTIONS[function](*args, **kwargs or {}, beta=self.beta)
        return function(*args, **kwargs or {})


class Smooth(nn.Module):
    """`s z + (1 - s) softplus_b(z)`."""

    def __init__(self, slope: float, beta: float) -> None:
        super().__init__()
        self.slope, self.beta = slope, beta

    def forward(self, z: Tensor) -> Tensor:
        """Apply it."""
        return _smooth(z, self.slope, self.beta)

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"slope={self.slope:g}, beta={self.beta:g}"


def _smooth(z: Tensor, slope: float, beta: float) -> Tensor:
    smooth = softplus(z, beta, threshold=50)
    return slope * z + (1 - slope) * smooth if slope else smooth


def _relu(input: Tensor, inplace: bool = False, *, beta: float) -> Tensor:
    return _leaky_relu(input, 0, inplace, beta=beta)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False, *, beta: float) -> Tensor:
    return _in_place() if inplace else _smooth(input, negative_slope, beta)


def _in_place(*args: Any, **kwargs: Any) -> Tensor:
    raise ValueError(
        "smoothed: the network calls a ReLU as a function that changes its input in place; leave inplace out, write it "
        "as a module, or attack without smoothing (beta=None)."
    )


FUNCTIONS = dict.fromkeys((relu, torch.relu, Tensor.relu), _relu) | {leaky_relu: _leaky_relu}
FUNCTIONS |= dict.fromkeys((relu_, torch.relu_, Tensor.relu_, leaky_relu_), _in_place)
