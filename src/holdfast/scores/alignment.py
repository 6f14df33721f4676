"""Alignment: how far two explanations of one image lie apart, as published and free of scale.

    l2_distance        |R - R'|_2
    relative_distance  |R - R'|_2 / ((|R|_2 + |R'|_2) / 2)

Wang, Fredrikson, Datta (arXiv:2103.11257) compare an explanation with its boundary variant by the plain distance, and
find it smaller for robust networks. The gradients of robust networks are smaller altogether, and so is any distance
between them: report a scale-free measure beside, this one or `cosine`. `correlation` asks whether images on which the
two agree are those on which the explanation points at the object.
"""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from holdfast.checks import check_range
from holdfast.scores.pairs import Channels, map_rows


def l2_distance(
    first: Tensor, second: Tensor, *, channels: Channels = "separate", image_axes: int | None = None
) -> Tensor:
    """Euclidean distance of two stacks of maps, in units of the maps.

    Args:
        first, second: maps `[..., B, *image]` of one shape.
        channels: "separate" compares channel values, as published; "sum" pixels, each with the sum of its channels.
        image_axes: trailing axes of one image; None means 3, or 1 for maps `[B, features]`.

    Returns:
        Values from 0 of shape `[..., B]`.

    >>> l2_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]]))
    tensor([5.])
    """
    a, b = map_rows("l2_distance", first, second, channels=channels, image_axes=image_axes)
    return (a - b).norm(dim=-1)


def relative_distance(
    first: Tensor, second: Tensor, *, channels: Channels = "separate", image_axes: int | None = None
) -> Tensor:
    """Euclidean distance over the mean of the two lengths, in [0, 2]; 0 where both maps are zero.

    Arguments as for `l2_distance`.

    >>> relative_distance(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]]))
    tensor([0.6667])
    """
    a, b = map_rows("relative_distance", first, second, channels=channels, image_axes=image_axes)
    length = (a.norm(dim=-1) + b.norm(dim=-1)) / 2
    return (a - b).norm(dim=-1) / torch.where(length > 0, length, 1)


def correlation(
    first: Tensor, second: Tensor, *, kind: Literal["spearman", "pearson"] = "spearman", level: float = 0.95
) -> tuple[float, float, float]:
    """Correlation over images of two values, with its interval; pairs with a NaN are left out.

    The interval is Fisher's: `tanh(atanh(r) +- z s)` with `s^2 = 1 / (n - 3)`, for ranks `(1 + r^2 / 2) / (n - 3)`
    (Bonett and Wright 2000).

    Args:
        first, second: one value per image `[B]`.
        kind: "spearman" (of the ranks), or "pearson" as published.
        level: of the interval.

    Returns:
        correlation and its interval; NaN where fewer than four images are left or one side is constant.

    >>> x = torch.arange(40.0)
    >>> [round(v, 3) for v in correlation(x, x**3)]
    [1.0, 1.0, 1.0]
    """
    from scipy.stats import norm, rankdata

    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(
            f"correlation: expected two values per image [B], got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    if kind not in ("spearman", "pearson"):
        raise ValueError(f"correlation: kind must be 'spearman' or 'pearson', got {kind!r}.")
    check_range("correlation", "level", level, 0, 1, open_low=True)
    pairs = torch.stack([first, second]).detach().double().cpu().numpy()
    pairs = pairs[:, np.isfinite(pairs).all(0)]
    count = pairs.shape[1]
    if count < 4 or (np.ptp(pairs, axis=1) == 0).any():
        return math.nan, math.nan, math.nan
    if kind == "spearman":
        pairs = rankdata(pairs, axis=1)
    rho = float(np.corrcoef(pairs)[0, 1])
    if abs(rho) >= 1 - 1e-12:
        return rho, rho, rho
    variance = (1 + rho**2 / 2 if kind == "spearman" else 1) / (count - 3)
    half = float(norm.ppf((1 + level) / 2)) * math.sqrt(variance)
    return rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
