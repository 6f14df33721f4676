"""Cosine similarity of two maps: do they point the same way, whatever their size?

    cos = <R, R~> / (||R||_2 ||R~||_2)

Unlike k-LRP it weighs pixels by their relevance, keeps the signs, and is differentiable in both maps.
"""

import torch
from torch import Tensor

from holdfast.scores.facts import Facts, declare
from holdfast.scores.pairs import Channels, map_rows


@declare(Facts("maps", low=-1.0, high=1.0, better="higher", differentiable=True))
def cosine(clean: Tensor, attacked: Tensor, *, channels: Channels = "sum", image_axes: int | None = None) -> Tensor:
    """Cosine similarity of two stacks of maps, differentiable.

    Args:
        clean, attacked: maps `[..., B, *image]` of one shape, any number of leading axes.
        channels: "sum" compares pixels, each with the sum of its channels; "separate" compares channel values.
        image_axes: trailing axes of one image; None means 3, or 1 for maps `[B, features]`.

    Returns:
        Values in [-1, 1] of shape `[..., B]`. Zero maps have no direction: 1 if both are zero, 0 if one is.

    Raises:
        ValueError: maps of different shapes, not finite or empty.

    >>> cosine(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
    tensor([0.9600])
    """
    a, b = (_unit(m) for m in map_rows("cosine", clean, attacked, channels=channels, image_axes=image_axes))
    similarity = (a * b).sum(-1).clamp(-1, 1)
    both_zero = ~(a.detach().any(-1) | b.detach().any(-1))
    return torch.where(both_zero, 1.0, similarity)


def _unit(maps: Tensor) -> Tensor:
    """Rows of length one, zero rows staying zero; scaled before, so that no square overflows or vanishes."""
    largest = maps.detach().abs().amax(-1, keepdim=True)
    scaled = maps / torch.where(largest > 0, largest, 1)
    length = scaled.square().sum(-1, keepdim=True)
    return scaled / torch.where(length > 0, length, 1).sqrt()
