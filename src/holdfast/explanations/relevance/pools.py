"""Pools: max pooling hands relevance to the winner, averages share it in proportion to their inputs."""

from functools import partial

import torch
from torch import Tensor
from torch.func import vjp

from holdfast.explanations.relevance.registry import methods, register
from holdfast.explanations.relevance.stabiliser import times
from holdfast.explanations.relevance.tape import Call, Step

_MAX = [f for n in "123" for f in methods(f"max_pool{n}d", f"_max_pool{n}d")]
_ADAPTIVE_MAX = [f for n in "123" for f in methods(f"adaptive_max_pool{n}d", f"_adaptive_max_pool{n}d")]
_AVERAGE = [f for n in "123" for f in methods(f"avg_pool{n}d", f"adaptive_avg_pool{n}d")]


@register(*_MAX, *_ADAPTIVE_MAX, *methods("amax", "amin"))
def winner(call: Call) -> Step:
    """Maxima: relevance goes to the entry that won (in equal parts, where `amax` finds several)."""
    if call.kwargs.get("return_indices"):
        raise call.refuse("return_indices is not supported", "call it without return_indices")
    out, pull = pulled(call)
    return Step(out, lambda relevance, walk: pull(relevance), "route", nonneg=call.nonneg())


@register(*_AVERAGE, *methods("mean", "sum", "interpolate", "upsample", "fold", "cumsum", "lp_pool2d"))
def average(call: Call) -> Step:
    """Averages and sums of one tensor: `R_i = a_i (c_i. s)`, `s = R / z` for the coefficients c of the sum."""
    out, pull = pulled(call)
    a, z = call.inputs[0], out

    def back(relevance: Tensor, walk: object) -> tuple[Tensor]:
        return (times(a, pull(walk.stabiliser.divide(relevance, z))[0]),)

    return Step(out, back, "average", nonneg=call.nonneg(), keeps_zeros=True)


def pulled(call: Call) -> tuple[Tensor, object]:
    """Run a function that is linear in its first argument, or picks from it: output and transposed map."""
    if call.args:
        function = lambda t: call.function(t, *call.args[1:], **call.kwargs)
    else:
        rest = {k: v for k, v in call.kwargs.items() if k != "input"}
        function = lambda t: call.function(t, **rest)
    return vjp(function, call.inputs[0])


__all__ = ["average", "partial", "pulled", "torch", "winner"]
