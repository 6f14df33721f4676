"""Sums: each term receives relevance in proportion to its value; a constant term keeps its share, as a bias does.

A `Shift` of the images is no term: what is explained is the shifted image.
"""

from typing import Any

from torch import Tensor

from holdfast.explanations.relevance.registry import methods, register
from holdfast.explanations.relevance.stabiliser import times
from holdfast.explanations.relevance.tape import Call, Step
from holdfast.networks import shift_images


@register(*methods("add __add__ __radd__"))
def add(call: Call) -> Step:
    """`z = t + alpha u`."""
    return _sum(call, 1, call.kwargs.get("alpha", 1))


@register(*methods("sub subtract __sub__"))
def subtract(call: Call) -> Step:
    """`z = t - alpha u`."""
    return _sum(call, 1, -call.kwargs.get("alpha", 1))


@register(*methods("rsub __rsub__"))
def subtract_from(call: Call) -> Step:
    """`z = u - alpha t`."""
    return _sum(call, -call.kwargs.get("alpha", 1), 1)


@register(*methods("neg negative __neg__ __pos__ positive"))
def negate(call: Call) -> Step:
    """`z = -t`: relevance passes."""
    return Step(call.run(), lambda relevance, walk: (relevance,), "sum")


@register(shift_images)
def shift(call: Call) -> Step:
    """`z = x + shift`: relevance passes, to pixels that are zero too."""
    return Step(call.run(), lambda relevance, walk: (relevance,), "sum", vanishes=False)


def _sum(call: Call, first: float, second: float) -> Step:
    """`z = first t + second u`: `R_t = first t / z R`."""
    p, z = call.bind("input", "other"), call.run()
    pairs = [(p["input"], first), (p["other"], second)]
    terms = [(t, k) for t, k in pairs if any(t is known for known in call.inputs)]

    def back(relevance: Tensor, walk: Any) -> tuple[Tensor, ...]:
        s = walk.divide(relevance, z)
        parts = [t * s if k == 1 else t * (k * s) for t, k in terms[:-1]]
        t, k = terms[-1]
        parts.append(times(t, s if k == 1 else k * s))
        return tuple(r if r.shape == t.shape else r.sum_to_size(t.shape) for r, (t, _) in zip(parts, terms))

    sure = len(terms) == 2 and first >= 0 and second >= 0 and call.nonneg()
    return Step(z, back, "sum", nonneg=sure, vanishes=True)
