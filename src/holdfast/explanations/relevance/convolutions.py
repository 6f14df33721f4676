"""Convolutions and transposed convolutions, in one, two and three dimensions."""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.affine import Affine
from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.tape import Call, Step

_DIMENSIONS = {F.conv1d: 1, F.conv2d: 2, F.conv3d: 3}
_TRANSPOSED = {F.conv_transpose1d: 1, F.conv_transpose2d: 2, F.conv_transpose3d: 3}


@register(*_DIMENSIONS)
def convolution(call: Call) -> Step:
    """`F.conv1d`, `F.conv2d`, `F.conv3d`."""
    n = _DIMENSIONS[call.function]
    p = call.bind("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    stride, dilation = _per_axis(p.get("stride", 1), n), _per_axis(p.get("dilation", 1), n)
    a, padding = _padded(p["input"], p["weight"], p.get("padding", 0), dilation, n)
    geometry = (stride, padding, dilation, False, [0] * n, p.get("groups", 1))
    return _step(call, a, p["weight"], p.get("bias"), geometry, p["input"].shape)


@register(*_TRANSPOSED)
def transposed_convolution(call: Call) -> Step:
    """`F.conv_transpose1d`, `F.conv_transpose2d`, `F.conv_transpose3d`."""
    n = _TRANSPOSED[call.function]
    p = call.bind("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
    axes = {
        k: _per_axis(p.get(k, d), n) for k, d in zip(("stride", "padding", "dilation", "output_padding"), (1, 0, 1, 0))
    }
    geometry = (axes["stride"], axes["padding"], axes["dilation"], True, axes["output_padding"], p.get("groups", 1))
    return _step(call, p["input"], p["weight"], p.get("bias"), geometry, p["input"].shape)


def _step(call: Call, a: Tensor, w: Tensor, b: Tensor | None, geometry: tuple, shape: torch.Size) -> Step:
    if len(call.inputs) > 1:
        raise call.refuse("its weights descend from the images", "make the weights a parameter")
    forward = lambda a, w, b: torch.convolution(a, w, b, *geometry)
    z = forward(a, w, b)
    scaled = partial(_scaled, groups=geometry[-1], transposed=geometry[3])
    over = lambda v: v.view(-1, *[1] * len(geometry[0]))
    back = partial(_transpose, a=a, geometry=geometry)
    return Step(z, kind="convolution", affine=Affine(a, z, w, b, forward, back, over, scaled))


def _transpose(s: Tensor, w: Tensor, a: Tensor, geometry: tuple) -> Tensor:
    """What belongs to each input; `a` is only looked at for its shape."""
    stride, padding, dilation, transposed, extra, groups = geometry
    arguments = (stride, padding, dilation, transposed, extra, groups, [True, False, False])
    return torch.ops.aten.convolution_backward(s, a, w, None, *arguments)[0]


def _scaled(w: Tensor, k: Tensor, groups: int, transposed: bool) -> Tensor:
    if not transposed:
        return k.view(-1, *[1] * (w.ndim - 1)) * w
    # [inputs, outputs / groups, ...]: the outputs of one group meet the inputs of that group
    grouped = w.view(groups, -1, *w.shape[1:]) * k.view(groups, 1, -1, *[1] * (w.ndim - 2))
    return grouped.view(w.shape)


def _per_axis(value: Any, n: int) -> list[int]:
    return [value] * n if isinstance(value, int) else list(value) * (n if len(value) == 1 else 1)


def _padded(a: Tensor, w: Tensor, padding: Any, dilation: list[int], n: int) -> tuple[Tensor, list[int]]:
    """The input and the padding in numbers."""
    if padding == "valid":
        return a, [0] * n
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, w.shape[2:])]
        return a, [t // 2 for t in total]
    return a, _per_axis(padding, n)
