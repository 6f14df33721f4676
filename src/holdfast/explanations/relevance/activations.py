"""Elementwise activations: relevance passes unchanged (LeakyReLU too), as everywhere in the literature."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.registry import methods, register
from holdfast.explanations.relevance.tape import Call, Step

_NONNEG = set(methods("relu relu6 sigmoid hardsigmoid softplus"))
_NOT_ZERO_AT_ZERO = set(
    methods("sigmoid hardsigmoid softplus logsigmoid threshold clamp clip clamp_min clamp_max maximum minimum")
)
_OTHERS = methods(
    "leaky_relu elu celu selu gelu silu mish tanh hardtanh hardswish rrelu prelu logsigmoid softsign tanhshrink "
    "softshrink hardshrink threshold clamp clip clamp_min clamp_max erf sin arctan atan abs absolute"
)


@register(*_NONNEG, *_OTHERS)
def activation(call: Call) -> Step:
    """Any function of one tensor, entry by entry."""
    if call.function is F.rrelu and call.kwargs.get("training"):
        raise call.refuse("it is random in training mode", "call eval() on the network")
    out = call.run()
    if len(call.inputs) > 1 or out.shape != call.inputs[0].shape:
        raise call.refuse("more than one of its inputs descends from the images", "write it as sums and products")
    vanishes = False if call.function in _NOT_ZERO_AT_ZERO else None
    back = lambda relevance, walk: (relevance,)
    return Step(out, back, "activation", nonneg=call.function in _NONNEG, vanishes=vanishes)


@register(F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout)
def dropout(call: Call) -> Step:
    """Dropout in evaluation mode, where it does nothing."""
    p = call.bind("input", "p", "training")
    if p.get("training", call.function is not torch.dropout) and p.get("p", 0.5) > 0:
        raise call.refuse("it is random in training mode", "call eval() on the network")
    out = p["input"].view_as(p["input"])  # also for inplace=True, which changes nothing here
    return Step(out, lambda relevance, walk: (relevance,), "activation", nonneg=call.nonneg(), view=True)


@register(F.softmax, torch.softmax, Tensor.softmax)
def softmax(call: Call) -> Step:
    """`s = softmax(a)`: `R_i = a_i (R_i - s_i sum_j R_j)` (Achtibat et al. 2024, a Taylor expansion at a)."""
    p = call.bind("input", "dim")
    a, dim, s = p["input"], p["dim"], call.run()

    def back(relevance: Tensor, walk: object) -> tuple[Tensor]:
        finite = torch.where(a == -torch.inf, 0.0, a)  # masked scores
        return (finite * (relevance - s * relevance.sum(dim, keepdim=True)),)

    return Step(s, back, "softmax", nonneg=True, vanishes=True)


@register(F.glu)
def gated_linear_unit(call: Call) -> Any:
    """`a sigmoid(b)` of the two halves."""
    p = call.bind("input", "dim")

    def gate(t: Tensor, dim: int) -> Tensor:
        a, b = t.chunk(2, dim)
        return a * b.sigmoid()

    return call.on_tape(gate, p["input"], p.get("dim", -1))
