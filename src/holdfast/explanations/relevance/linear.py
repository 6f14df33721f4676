"""Linear maps with weights that do not descend from the images: `z = a W^T + b`, products with a constant matrix."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.affine import Affine
from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.tape import Call, Step


class Dense:
    """The last axis of the inputs meets the last axis of the weights `[outputs, inputs]`."""

    def forward(self, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Outputs."""
        return F.linear(a, w, b)

    def transpose(self, s: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """`sum_j w_ij s_j` for every input i."""
        return s @ w

    def over(self, v: Tensor) -> Tensor:
        """Channels are the last axis."""
        return v

    def scaled(self, w: Tensor, k: Tensor) -> Tensor:
        """One factor per row."""
        return k.unsqueeze(-1) * w

    def evenly(self, part: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """Every output sees every input."""
        return (part.sum(-1, keepdim=True) / a.shape[-1]).expand_as(a)

    def folds(self, z: Tensor) -> bool:
        """Channels come right after the batch where there is no axis between."""
        return z.ndim == 2


@register(F.linear)
def linear(call: Call) -> Step:
    """`F.linear`."""
    p = call.bind("input", "weight", "bias")
    if len(call.inputs) > 1:
        raise call.refuse("its weights descend from the images", "use torch.matmul for a product of two activations")
    z = call.run()
    return Step(z, kind="linear", affine=Affine(p["input"], z, p["weight"], p.get("bias"), Dense(), call.nonneg()))


@register(torch.addmm, Tensor.addmm)
def addmm(call: Call) -> Any:
    """`beta b + alpha a W`: a linear map whose bias and weights are scaled."""
    p = call.bind("input", "mat1", "mat2")
    if len(call.inputs) > 1 or call.inputs[0] is not p["mat1"]:
        raise call.refuse("only its first factor may descend from the images", "use + and torch.matmul")
    return call.on_tape(F.linear, p["mat1"], p.get("alpha", 1) * p["mat2"].mT, p.get("beta", 1) * p["input"])


@dataclass(frozen=True, slots=True)
class Product:
    """A function that is linear in each of two tensors, one of them constant: `torch.matmul`, `torch.einsum`."""

    function: Any  # (a, w) -> z

    def forward(self, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Outputs; there is no bias."""
        return self.function(a, w)

    def transpose(self, s: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """`sum_j w_ij s_j` for every input i."""
        return torch.func.vjp(lambda t: self.function(t, w), a)[1](s)[0]

    def over(self, v: Tensor) -> Tensor:
        """Not used: there is no bias."""
        return v

    def scaled(self, w: Tensor, k: Tensor) -> Tensor:
        """Not used: nothing is folded in."""
        return w

    def evenly(self, part: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """Not used: there is no bias."""
        return part

    def folds(self, z: Tensor) -> bool:
        """Which axis the channels are is not known."""
        return False


def product_with_constant(call: Call, a: Tensor, w: Tensor, function: Any) -> Step:
    """A step for `function(a, w)`, where only `a` descends from the images."""
    z = call.run()
    return Step(z, kind="linear", affine=Affine(a, z, w, None, Product(function), call.nonneg()))
