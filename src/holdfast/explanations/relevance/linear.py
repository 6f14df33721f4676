"""Linear maps: `z = a W^T + b` and its relatives with weights that do not descend from the images."""

import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.affine import Affine
from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.tape import Call, Step


@register(F.linear)
def linear(call: Call) -> Step:
    """`F.linear`."""
    p = call.bind("input", "weight", "bias")
    a, w, b = p["input"], p["weight"], p.get("bias")
    if len(call.inputs) > 1:
        raise call.refuse("its weights descend from the images", "use torch.matmul for a product of two activations")
    z = call.run()
    return Step(z, kind="linear", affine=Affine(a, z, w, b, F.linear, _transpose, _over, _scaled))


def _transpose(s: Tensor, w: Tensor) -> Tensor:
    return s @ w


def _over(v: Tensor) -> Tensor:
    return v


def _scaled(w: Tensor, k: Tensor) -> Tensor:
    return k.unsqueeze(-1) * w
