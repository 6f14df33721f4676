"""Products. A constant factor leaves relevance as it is; two activations share it equally.

Two activations: half of the relevance goes along each, by the epsilon rule (Achtibat et al. 2024, propositions on
matrix products and elementwise products).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp

from holdfast.explanations.relevance.linear import product_with_constant
from holdfast.explanations.relevance.registry import methods, register
from holdfast.explanations.relevance.tape import Call, Step


@register(*methods("mul multiply __mul__ __rmul__"))
def multiply(call: Call) -> Step:
    """`t c` with a constant c: relevance passes; `t u` of two activations: half each."""
    out, shapes = call.run(), [t.shape for t in call.inputs]
    each = 1 / len(shapes)

    def back(relevance: Tensor, walk: Any) -> tuple[Tensor, ...]:
        part = relevance if each == 1 else each * relevance
        return tuple(part if s == part.shape else part.sum_to_size(s) for s in shapes)

    both = len(shapes) == 2 and call.nonneg()
    return Step(out, back, "product", nonneg=both)


@register(*methods("div divide true_divide __truediv__ __div__"))
def divide(call: Call) -> Step:
    """`t / c`: relevance passes to the numerator; a divisor that descends from the images counts as a scale."""
    p, out = call.bind("input", "other"), call.run()
    numerator = p["input"]

    def back(relevance: Tensor, walk: Any) -> tuple[Tensor | None, ...]:
        return tuple(relevance.sum_to_size(t.shape) if t is numerator else None for t in inputs)

    inputs = call.inputs
    if not any(t is numerator for t in inputs):
        raise call.refuse("only the divisor descends from the images", "register a rule for it")
    return Step(out, back, "product")


@register(*methods("matmul __matmul__ mm bmm mv"))
def matmul(call: Call) -> Step:
    """`a W` or `W a` with a constant matrix: a linear map; `a b` of two activations: half each."""
    p = call.bind("input", "other")
    left, right = p.get("input", p.get("self")), p.get("other", p.get("mat2", p.get("vec")))
    if len(call.inputs) == 2:
        return bilinear(call, left, right, torch.matmul)
    if call.inputs[0] is left:
        return product_with_constant(call, left, right, torch.matmul)
    return product_with_constant(call, right, left, lambda a, w: torch.matmul(w, a))


@register(*methods("baddbmm"))
def baddbmm(call: Call) -> Any:
    """`beta c + alpha a b`."""
    p = call.bind("input", "batch1", "batch2")

    def written_out() -> Tensor:
        return p["input"] * p.get("beta", 1) + torch.bmm(p["batch1"], p["batch2"]) * p.get("alpha", 1)

    return call.on_tape(written_out)


@register(torch.einsum)
def einsum(call: Call) -> Step:
    """`torch.einsum` of one or two tensors."""
    equation, *operands = call.args
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = list(operands[0])
    if len(operands) == 2 and len(call.inputs) == 2:
        return bilinear(call, *operands, lambda a, b: torch.einsum(equation, a, b))
    if len(operands) == 2:
        first = call.inputs[0] is operands[0]
        a, w = operands if first else operands[::-1]
        return product_with_constant(call, a, w, lambda a, w: torch.einsum(equation, *((a, w) if first else (w, a))))
    if len(operands) == 1:
        raise call.refuse("it rearranges or sums one tensor", "use permute, diagonal or sum")
    raise call.refuse("it joins more than two tensors", "write it as several products of two")


def bilinear(call: Call, left: Tensor, right: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Step:
    """A product of two activations: `R_left = left (right . s) / 2`, and the other way round, `s = R / z`."""
    z = call.run()

    def back(relevance: Tensor, walk: Any) -> tuple[Tensor, Tensor]:
        s = walk.stabiliser.divide(relevance / 2, z)
        one, other = vjp(function, left, right)[1](s)
        return left * one, right * other

    return Step(z, back, "product", vanishes=True)
