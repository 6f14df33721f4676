"""Norms. Batch norm is a scale and a shift per channel, folded into the map before it where there is one."""

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.affine import Affine
from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.tape import Call, Step


@register(F.batch_norm)
def batch_norm(call: Call) -> Step:
    """`z = k a + shift` with `k = weight / sqrt(var + eps)`, `shift = bias - k mean`."""
    p = call.bind("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    a, z = p["input"], None
    if p.get("training") or p["running_var"] is None:
        raise call.refuse("batch norm in training mode mixes the images of a batch", "call eval() on the network")
    z = call.run()
    k = torch.rsqrt(p["running_var"] + p.get("eps", 1e-5))
    k = k if p.get("weight") is None else k * p["weight"]
    shift = -p["running_mean"] * k if p.get("bias") is None else p["bias"] - p["running_mean"] * k
    over = lambda v: v.view(-1, *[1] * (a.ndim - 2))
    forward = lambda a, w, b: a * over(w) if b is None else a * over(w) + over(b)
    transpose = lambda s, w: s * over(w)
    return Step(z, kind="norm", affine=Affine(a, z, k, shift, forward, transpose, over, torch.mul))


__all__ = ["Tensor", "batch_norm"]
