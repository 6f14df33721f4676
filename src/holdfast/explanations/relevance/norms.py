"""Norms. Batch norm is a scale and a shift per channel, folded into the map before it where there is one.

Norms by statistics of the image itself (layer, group, instance and RMS norm) count their standard deviation as a
constant: what remains, taking the mean away and scaling, is linear (Ali et al. 2022). They take the composite's `norm`
rule: `Epsilon`, or `Pass` for the identity of Achtibat et al. 2024.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.affine import Affine
from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.tape import Call, Step


class PerChannel:
    """One weight per channel, the axis after the batch."""

    constant = True  # the scale is the same for all images, so that the map before it can take it in

    def __init__(self, image_axes: int) -> None:
        self.shape = (-1, *[1] * image_axes)

    def forward(self, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Outputs."""
        return a * self.over(w) if b is None else a * self.over(w) + self.over(b)

    def transpose(self, s: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """Every input has one output."""
        return s * self.over(w)

    def over(self, v: Tensor) -> Tensor:
        """Channels stand before the image axes."""
        return v.view(self.shape)

    def scaled(self, w: Tensor, k: Tensor) -> Tensor:
        """One factor per channel."""
        return w * k

    def evenly(self, part: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """Every output sees one input."""
        return part

    def folds(self, z: Tensor) -> bool:
        """Norms do not take another norm in."""
        return False


class Centred(PerChannel):
    """`z = w (a - mean(a)) + b` over groups of entries, with one factor w per entry.

    The factors come from the image's own statistics, so it is never folded into a map.

    Args:
        grouped: shape in which each group fills the last axis.
        centre: take the mean away; RMS norm does not.
    """

    constant = False

    def __init__(self, grouped: tuple[int, ...], centre: bool = True) -> None:
        self.grouped, self.centre = grouped, centre

    def forward(self, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Only rules that know z already can be used."""
        raise NotImplementedError("lrp: norms take the rules Epsilon and Pass; set Composite(..., norm=Epsilon()).")

    def transpose(self, s: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """The transpose of scaling and centring."""
        s = s * w
        if not self.centre:
            return s
        g = s.reshape(self.grouped)
        return (g - g.mean(-1, keepdim=True)).view_as(s)

    def over(self, v: Tensor) -> Tensor:
        """The bias comes with the shape of z."""
        return v


@register(F.batch_norm, torch.batch_norm)
def batch_norm(call: Call) -> Step:
    """`z = k a + shift` with `k = weight / sqrt(var + eps)`, `shift = bias - k mean`."""
    p = call.bind("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    a, mean, var, weight, bias = (p.get(k) for k in ("input", "running_mean", "running_var", "weight", "bias"))
    if p.get("training") or var is None:
        raise call.refuse("batch norm in training mode mixes the images of a batch", "call eval() on the network")
    z = call.run()
    k = torch.rsqrt(var + p.get("eps", 1e-5))
    k = k if weight is None else k * weight
    shift = lambda: -mean * k if bias is None else bias - mean * k
    return Step(z, kind="norm", affine=Affine(a, z, k, shift, PerChannel(a.ndim - 2), call.nonneg()))


@register(F.layer_norm, torch.layer_norm)
def layer_norm(call: Call) -> Step:
    """Mean and variance over the last axes of each image."""
    p = call.bind("input", "normalized_shape", "weight", "bias", "eps")
    a = p["input"]
    axes = tuple(range(a.ndim - len(p["normalized_shape"]), a.ndim))
    return _by_statistics(call, p, (*a.shape[: axes[0]], -1), (1,))


@register(F.group_norm, torch.group_norm)
def group_norm(call: Call) -> Step:
    """Mean and variance over groups of channels of each image."""
    p = call.bind("input", "num_groups", "weight", "bias", "eps")
    a = p["input"]
    return _by_statistics(call, p, (a.shape[0], p["num_groups"], -1), (-1, *[1] * (a.ndim - 2)))


@register(F.instance_norm, torch.instance_norm)
def instance_norm(call: Call) -> Any:
    """Mean and variance over each channel of each image, or the running ones where these are used."""
    p = call.bind("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
    a = p["input"]
    if not p.get("use_input_stats", True):
        fixed = (p["running_mean"], p["running_var"], p.get("weight"), p.get("bias"), False)
        return call.on_tape(F.batch_norm, a, *fixed, eps=p.get("eps", 1e-5))
    return _by_statistics(call, p, (*a.shape[:2], -1), (-1, *[1] * (a.ndim - 2)))


@register(F.rms_norm, torch.rms_norm)
def rms_norm(call: Call) -> Step:
    """Root mean square over the last axes of each image, no mean."""
    p = call.bind("input", "normalized_shape", "weight", "eps")
    a = p["input"]
    p["eps"] = torch.finfo(a.dtype).eps if p.get("eps") is None else p["eps"]
    return _by_statistics(call, p, (*a.shape[: a.ndim - len(p["normalized_shape"])], -1), (1,), centre=False)


@register(F.normalize)
def normalize(call: Call) -> Any:
    """`a / max(|a|, eps)` along an axis: the length counts as a constant."""
    p = call.bind("input", "p", "dim", "eps")
    a = p["input"]

    def written_out() -> Tensor:
        length = torch.linalg.vector_norm(a, p.get("p", 2.0), p.get("dim", 1), keepdim=True)
        return a / length.clamp_min(p.get("eps", 1e-12))

    return call.on_tape(written_out)


def _by_statistics(call: Call, p: dict, grouped: tuple, over: tuple, centre: bool = True) -> Step:
    a, weight, bias, z = p["input"], p.get("weight"), p.get("bias"), call.run()
    g = a.reshape(grouped)
    square = g.var(-1, unbiased=False, keepdim=True) if centre else (g * g).mean(-1, keepdim=True)
    w = torch.rsqrt(square + p.get("eps", 1e-5)).expand_as(g).reshape(a.shape)
    shaped = lambda v: v if over == (1,) else v.view(over)
    w = w if weight is None else w * shaped(weight)
    b = None if bias is None else lambda: shaped(bias).expand_as(z)
    return Step(z, kind="norm", affine=Affine(a, z, w, b, Centred(grouped, centre), call.nonneg()))
