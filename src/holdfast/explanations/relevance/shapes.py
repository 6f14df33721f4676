"""Shapes: views, permutations, selections and padding carry relevance along with the values."""

import torch.nn.functional as F
from torch import Tensor

from holdfast.explanations.relevance.pools import pulled
from holdfast.explanations.relevance.registry import methods, register
from holdfast.explanations.relevance.tape import Call, Step


@register(
    *methods(
        *[
            "flatten",
            "unflatten",
            "view",
            "view_as",
            "reshape",
            "reshape_as",
            "squeeze",
            "unsqueeze",
            "contiguous",
            "clone",
            "detach",
        ]
    )
)
def reshaped(call: Call) -> Step:
    """The same values in the same order."""
    a = call.inputs[0]
    shape, out = a.shape, call.run()
    if out is a:
        out = a.view_as(a)  # its own number: the tape follows tensors, not names
    return Step(out, lambda relevance, walk: (relevance.reshape(shape),), nonneg=call.nonneg(), view=True)


@register(
    *methods(
        *[
            "permute",
            "transpose",
            "swapaxes",
            "swapdims",
            "movedim",
            "moveaxis",
            "t",
            "narrow",
            "select",
            "flip",
            "roll",
            "expand",
            "expand_as",
        ]
    ),
    *methods(
        *[
            "broadcast_to",
            "repeat",
            "repeat_interleave",
            "tile",
            "gather",
            "index_select",
            "take_along_dim",
            "masked_select",
        ]
    ),
    *methods(
        *[
            "diagonal",
            "pixel_shuffle",
            "pixel_unshuffle",
            "channel_shuffle",
            "unfold",
            "tril",
            "triu",
            "masked_fill",
            "pad",
        ]
    ),
    Tensor.__getitem__,
    Tensor.T.__get__,
    Tensor.mT.__get__,
    F.pad,
)
def selected(call: Call) -> Step:
    """Values moved, repeated or left out: each carries its relevance."""
    out, pull = pulled(call)
    return Step(out, lambda relevance, walk: pull(relevance), nonneg=call.nonneg(), view=True)
