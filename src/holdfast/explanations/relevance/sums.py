"""Sums: each term receives relevance in proportion to its value; factors that are constants leave it alone."""

import torch
from torch import Tensor

from holdfast.explanations.relevance.registry import methods, register
from holdfast.explanations.relevance.tape import Call, Step


@register(*methods("add", "__add__", "__radd__"))
def add(call: Call) -> Step:
    """`z = t_1 + t_2`: `R_k = t_k / z R`; a constant keeps its share."""
    out = call.run()
    terms = call.inputs

    def back(relevance: Tensor, walk: object) -> tuple[Tensor, ...]:
        s = walk.stabiliser.divide(relevance, out)
        return tuple((t * s).sum_to_size(t.shape) if t.shape != s.shape else t * s for t in terms)

    sure = call.nonneg() and all(isinstance(t, Tensor) and t in call.tape.numbers for t in call.args)
    return Step(out, back, "sum", nonneg=sure, keeps_zeros=True)


__all__ = ["add", "torch"]
