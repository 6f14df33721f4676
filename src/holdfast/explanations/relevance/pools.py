"""Pools: maxima hand relevance to the winner, averages share it in proportion to their inputs."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vjp

from holdfast.explanations.relevance.activations import activation
from holdfast.explanations.relevance.registry import methods, register
from holdfast.explanations.relevance.stabiliser import times
from holdfast.explanations.relevance.tape import Call, Step

_WINNER = "max_pool1d max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax amin"
_AVERAGE = (
    "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "mean sum interpolate upsample fold cumsum"
)


@register(*methods("max_pool2d _max_pool2d"))
def max_pool2d(call: Call) -> Step:
    """Max pooling of images: relevance goes to the pixel that won."""
    p = call.bind("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    a, k = p["input"], p["kernel_size"]
    if p.get("return_indices"):
        raise call.refuse("return_indices is not supported", "call it without return_indices")
    where = (k, p.get("stride") or k, p.get("padding", 0), p.get("dilation", 1), p.get("ceil_mode", False))
    where = tuple([v] * 2 if type(v) is int else v for v in where)
    out, index = torch.ops.aten.max_pool2d_with_indices(a, *where)
    pull = torch.ops.aten.max_pool2d_with_indices_backward
    return Step(out, lambda relevance, walk: (pull(relevance, a, *where, index),), "route", nonneg=call.nonneg())


@register(*methods(_WINNER), *[getattr(F, f"_{name}") for name in _WINNER.split() if hasattr(F, f"_{name}")])
def winner(call: Call) -> Step:
    """Maxima: relevance goes to the entry that won (in equal parts, where `amax` finds several)."""
    if call.kwargs.get("return_indices"):
        raise call.refuse("return_indices is not supported", "call it without return_indices")
    out, pull = pulled(call)
    return Step(out, lambda relevance, walk: pull(relevance), "route", nonneg=call.nonneg())


@register(*methods("max min"))
def extreme(call: Call) -> Any:
    """`max(a)`, `max(a, dim)`, `max(a, b)`."""
    p = call.bind("input", "dim", "keepdim")
    other = p.get("other", p.get("dim"))
    if isinstance(other, Tensor):
        return call.on_tape(torch.maximum if call.function.__name__ == "max" else torch.minimum, p["input"], other)
    a, dim, out = p["input"], p.get("dim"), call.run()
    if dim is None:
        return winner(call)
    keep, index, shape = p.get("keepdim", False), out.indices, a.shape

    def back(relevance: Tensor, walk: Any) -> tuple[Tensor]:
        r, i = (relevance, index) if keep else (relevance.unsqueeze(dim), index.unsqueeze(dim))
        return (torch.zeros(shape, dtype=r.dtype, device=r.device).scatter(dim, i, r),)

    return Step(out, back, "route", nonneg=call.nonneg())


@register(torch.maximum, torch.minimum)
def larger(call: Call) -> Step:
    """`max(a, b)`: with a constant an activation; of two activations, relevance goes to the larger."""
    if len(call.inputs) == 1:
        return activation(call)
    (a, b), out = call.inputs, call.run()

    def back(relevance: Tensor, walk: Any) -> tuple[Tensor, Tensor]:
        first = (out == a).to(relevance)
        return (relevance * first).sum_to_size(a.shape), (relevance * (1 - first)).sum_to_size(b.shape)

    return Step(out, back, "route", nonneg=call.nonneg())


@register(*methods(_AVERAGE))
def average(call: Call) -> Step:
    """Averages and sums of one tensor: `R_i = a_i (c_i. s)`, `s = R / z` for the coefficients c of the sum."""
    out, pull = pulled(call)
    a, z, sure = call.inputs[0], out, call.nonneg() and call.kwargs.get("mode") != "bicubic"

    def back(relevance: Tensor, walk: Any) -> tuple[Tensor]:
        return (times(a, pull(walk.divide(relevance, z))[0]),)

    return Step(out, back, "average", nonneg=sure, vanishes=True)


def pulled(call: Call) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor]]]:
    """Run a function that is linear in its first argument, or picks from it: output and transposed map."""
    if call.args:
        function = lambda t: call.function(t, *call.args[1:], **call.kwargs)
    else:
        rest = {k: v for k, v in call.kwargs.items() if k != "input"}
        function = lambda t: call.function(t, **rest)
    return vjp(function, call.inputs[0])
