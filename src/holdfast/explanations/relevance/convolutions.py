"""Convolutions and transposed convolutions, in one, two and three dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.affine import Affine
from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.tape import Call, Step

_DIMENSIONS = {F.conv1d: 1, F.conv2d: 2, F.conv3d: 3, torch.conv1d: 1, torch.conv2d: 2, torch.conv3d: 3}
_TRANSPOSED = {F.conv_transpose1d: 1, F.conv_transpose2d: 2, F.conv_transpose3d: 3}


@dataclass(frozen=True, slots=True)
class Window:
    """How a convolution slides: one value per image axis."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int

    def forward(self, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Outputs."""
        return torch.convolution(
            a, w, b, self.stride, self.padding, self.dilation, self.transposed, self.output_padding, self.groups
        )

    def transpose(self, s: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """`sum_j w_ij s_j` for every input i; only the shape of `a` matters."""
        where = (self.stride, self.padding, self.dilation, self.transposed, self.output_padding, self.groups)
        return torch.ops.aten.convolution_backward(s, a, w, None, *where, [True, False, False])[0]

    def over(self, v: Tensor) -> Tensor:
        """Channels stand before the image axes."""
        return v.view(-1, *[1] * len(self.stride))

    def scaled(self, w: Tensor, k: Tensor) -> Tensor:
        """One factor per output channel; transposed weights are `[inputs, outputs / groups, ...]`."""
        ones = [1] * len(self.stride)
        if not self.transposed:
            return k.view(-1, 1, *ones) * w
        return (w.view(self.groups, -1, *w.shape[1:]) * k.view(self.groups, 1, -1, *ones)).view(w.shape)

    def evenly(self, part: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """Outputs at a padded border see fewer inputs."""
        ones = torch.ones_like(w)
        return self.transpose(part / self.forward(torch.ones_like(a), ones, None).clamp(min=1), ones, a)

    def folds(self, z: Tensor) -> bool:
        """Channels come right after the batch."""
        return z.ndim == len(self.stride) + 2


@register(*_DIMENSIONS)
def convolution(call: Call) -> Any:
    """`F.conv1d`, `F.conv2d`, `F.conv3d`."""
    n = _DIMENSIONS[call.function]
    p = call.bind("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    dilation, padding = _per_axis(p.get("dilation", 1), n), p.get("padding", 0)
    if isinstance(padding, str):
        ends = _same(p["weight"], dilation) if padding == "same" else [0, 0] * n
        a = call.on_tape(F.pad, p["input"], ends)
        rest = (p.get("stride", 1), 0, dilation, p.get("groups", 1))
        return call.on_tape(call.function, a, p["weight"], p.get("bias"), *rest)
    window = Window(
        _per_axis(p.get("stride", 1), n), _per_axis(padding, n), dilation, False, [0] * n, p.get("groups", 1)
    )
    return _step(call, p, window)


@register(*_TRANSPOSED)
def transposed_convolution(call: Call) -> Step:
    """`F.conv_transpose1d`, `F.conv_transpose2d`, `F.conv_transpose3d`."""
    n = _TRANSPOSED[call.function]
    p = call.bind("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    names = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
    axes = {name: _per_axis(p.get(name, default), n) for name, default in names.items()}
    return _step(call, p, Window(**axes, transposed=True, groups=p.get("groups", 1)))


def _step(call: Call, p: dict, window: Window) -> Step:
    if len(call.inputs) > 1:
        raise call.refuse("its weights descend from the images", "make the weights a parameter")
    a, w, b = p["input"], p["weight"], p.get("bias")
    z = window.forward(a, w, b)
    return Step(z, kind="convolution", affine=Affine(a, z, w, b, window, call.nonneg()))


def _per_axis(value: int | Sequence[int], n: int) -> list[int]:
    return [value] * n if isinstance(value, int) else list(value) * (n if len(value) == 1 else 1)


def _same(w: Tensor, dilation: list[int]) -> list[int]:
    """Padding before and after each image axis, last axis first, that keeps the size."""
    totals = [d * (k - 1) for d, k in zip(dilation, w.shape[2:])]
    return [end for t in reversed(totals) for end in (t // 2, t - t // 2)]
