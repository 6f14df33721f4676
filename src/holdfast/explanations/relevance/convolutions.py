"""Convolutions and transposed convolutions, in one, two and three dimensions."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    """How a convolution slides: one value per image axis; `ends` is zero padding at the far end of each axis alone."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int
    ends: tuple[int, ...] = ()

    def forward(self, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Outputs."""
        a = self._extended(a)
        return torch.convolution(
            a, w, b, self.stride, self.padding, self.dilation, self.transposed, self.output_padding, self.groups
        )

    def transpose(self, s: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """`sum_j w_ij s_j` for every input i; only the shape of `a` matters."""
        where = (self.stride, self.padding, self.dilation, self.transposed, self.output_padding, self.groups)
        pull = torch.ops.aten.convolution_backward
        back = pull(s, self._extended(a), w, None, *where, [True, False, False])[0]
        for axis, end in enumerate(self.ends):
            back = back.narrow(2 + axis, 0, a.shape[2 + axis]) if end else back
        return back

    def _extended(self, a: Tensor) -> Tensor:
        return F.pad(a, [v for end in reversed(self.ends) for v in (0, end)]) if any(self.ends) else a

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
def convolution(call: Call) -> Step:
    """`F.conv1d`, `F.conv2d`, `F.conv3d`."""
    n = _DIMENSIONS[call.function]
    p = call.bind("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    dilation, padding, ends = _per_axis(p.get("dilation", 1), n), p.get("padding", 0), ()
    if padding == "same":  # an odd total leaves one more at the far end
        totals = [d * (k - 1) for d, k in zip(dilation, p["weight"].shape[2:])]
        padding, ends = [t // 2 for t in totals], tuple(t % 2 for t in totals)
    padding = [0] * n if padding == "valid" else _per_axis(padding, n)
    stride = _per_axis(p.get("stride", 1), n)
    return _step(call, p, Window(stride, padding, dilation, False, [0] * n, p.get("groups", 1), ends))


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
