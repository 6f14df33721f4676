"""Spearman's rank correlation of two maps: is the order of the pixels kept?

    rho = Pearson correlation of the ranks of R and R~, ties with their average rank

Spearman (1904); as a measure of change between explanations: Adebayo et al., "Sanity checks for saliency maps"
(NeurIPS 2018), who report it both for R and for |R|. It looks at all pixels, so a black background that stays black
dominates it.
"""

from typing import Literal

import torch
from torch import Tensor

from holdfast.progress import track
from holdfast.scores.facts import Facts, declare
from holdfast.scores.pairs import Channels, map_rows
from holdfast.tiles import MEMORY

COPIES = 16  # memory that a block takes, in units of one of its maps in float64


@declare(Facts("maps", low=-1.0, high=1.0, better="higher", differentiable=False))
def spearman(
    clean: Tensor,
    attacked: Tensor,
    *,
    variant: Literal["signed", "absolute"] = "signed",
    channels: Channels = "sum",
    image_axes: int | None = None,
    memory: int = MEMORY,
) -> Tensor:
    """Rank correlation of two stacks of maps.

    Args:
        clean, attacked: maps `[..., B, *image]` of one shape, any number of leading axes.
        variant: "signed" ranks R, "absolute" ranks |R|.
        channels: "sum" compares pixels, each with the sum of its channels; "separate" compares channel values.
        image_axes: trailing axes of one image; None means 3, or 1 for maps `[B, features]`.
        memory: bytes used at most beyond the maps, about.

    Returns:
        Values in [-1, 1] of shape `[..., B]`. A constant map has no order: 1 if both are constant, 0 if one is.

    Raises:
        ValueError: maps of different shapes, not finite or empty.

    >>> spearman(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[10.0, 30.0, 20.0]]))
    tensor([0.5000])
    """
    if variant not in ("signed", "absolute"):
        raise ValueError(f"spearman: variant must be 'signed' or 'absolute', got {variant!r}.")
    with torch.no_grad():
        first, second = map_rows("spearman", clean, attacked, channels=channels, image_axes=image_axes)
        if variant == "absolute":
            first, second = first.abs(), second.abs()
        leading, pixels = first.shape[:-1], first.shape[-1]
        first, second = first.reshape(-1, pixels), second.reshape(-1, pixels)
        rows = max(1, memory // (COPIES * pixels * 8))
        starts = track(range(0, len(first), rows), "Spearman")
        values = [_correlation(first[i : i + rows], second[i : i + rows]) for i in starts]
        return torch.cat(values).to(clean.dtype).reshape(leading)


def average_ranks(values: Tensor) -> Tensor:
    """Ranks from 1 along the last axis of `[rows, n]`, in float64; equal values share the mean of their ranks.

    >>> average_ranks(torch.tensor([[3.0, 1.0, 3.0]]))
    tensor([[2.5000, 1.0000, 2.5000]], dtype=torch.float64)
    """
    ordered, places = values.sort(-1)
    position = torch.arange(values.shape[-1], device=values.device).expand_as(places)
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(new, position, 0).cummax(-1).values
    ends = torch.ones_like(new)
    ends[:, :-1] = new[:, 1:]
    last = torch.where(ends, position, values.shape[-1]).flip(-1).cummin(-1).values.flip(-1)
    return torch.empty_like(ordered, dtype=torch.float64).scatter_(-1, places, (first + last).double() / 2 + 1)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Rank correlation of rows, in float64."""
    a, b = (average_ranks(m) for m in (first, second))
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    sizes = a.norm(dim=-1), b.norm(dim=-1)
    rho = ((a * b).sum(-1) / (sizes[0] * sizes[1]).clamp(min=1e-300)).clamp(-1, 1)
    return torch.where((sizes[0] == 0) & (sizes[1] == 0), 1.0, rho)
