"""Regions: where an explanation ought to be, given as boxes or as exact masks.

A box is x0, y0, x1, y1 in pixels, both ends included. Boxes of no width or height, or that reach outside the image, and
empty masks say nothing: their images are flagged, score NaN, and are counted.
"""

import torch
from torch import Tensor


def region_masks(call: str, region: Tensor, height: int, width: int, count: int) -> tuple[Tensor, Tensor]:
    """Regions as masks `[B, H, W]`, and which of them say something `[B]`.

    >>> masks, usable = region_masks("doctest", torch.tensor([[1, 0, 2, 1], [3, 3, 3, 9]]), 4, 4, 2)
    >>> masks[0].int(), usable
    (tensor([[0, 1, 1, 0],
            [0, 1, 1, 0],
            [0, 0, 0, 0],
            [0, 0, 0, 0]], dtype=torch.int32), tensor([ True, False]))
    """
    if not isinstance(region, Tensor) or region.is_floating_point() or region.is_complex():
        kind = region.dtype if isinstance(region, Tensor) else type(region).__name__
        raise TypeError(f"{call}: region must be boxes [B, 4] of whole numbers or masks [B, H, W] of bool, got {kind}.")
    if region.dtype == torch.bool:
        if tuple(region.shape) != (count, height, width):
            raise ValueError(
                f"{call}: expected masks of shape {(count, height, width)}, one per image, got {tuple(region.shape)}."
            )
        return region, region.flatten(1).any(1)
    if tuple(region.shape) != (count, 4):
        raise ValueError(
            f"{call}: expected {count} boxes [B, 4] (x0, y0, x1, y1), one per image, got {tuple(region.shape)}; "
            "masks must be of bool."
        )
    x0, y0, x1, y1 = region.long().unbind(1)
    usable = (x0 >= 0) & (y0 >= 0) & (x1 < width) & (y1 < height) & (x1 > x0) & (y1 > y0)
    columns, rows = torch.arange(width, device=region.device), torch.arange(height, device=region.device)
    across = (columns >= x0[:, None]) & (columns <= x1[:, None])
    down = (rows >= y0[:, None]) & (rows <= y1[:, None])
    return down[:, :, None] & across[:, None], usable
