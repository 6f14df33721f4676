"""Boundary points, settled for the methods that explain by the nearest decision boundary.

What such a method explains is why the image lies on its own side: the class `c` is the decision at the image. Images
without a boundary point (none found, or classified otherwise than the class asked for) have no such explanation. Their
maps are NaN, so that they cannot slip into a mean; `Boundary.success` names them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from holdfast.attacks import Boundary, nearest_boundary
from holdfast.ensemble import Ensemble
from holdfast.explanations.target import Target, settle


def settle_boundary(
    call: str, model: Ensemble | nn.Module, x: Tensor, target: Target, boundary: Boundary | None, memory: int
) -> tuple[Ensemble, Boundary, Tensor]:
    """The ensemble, the boundary points, and for which images they explain the class asked for `[B]`.

    Args:
        call: the name of the method, for messages.
        model, x, target: as given to the method; a target of None is the decision.
        boundary: what `nearest_boundary` returned for these images, or None to search with its defaults.
        memory: budget in bytes.
    """
    ensemble, asked = settle(call, model, x, target, memory=memory)
    if boundary is None:
        boundary = nearest_boundary(ensemble, x.detach(), memory=memory)
    if not isinstance(boundary, Boundary):
        raise TypeError(f"{call}: boundary must be what nearest_boundary returned, got {type(boundary).__name__}.")
    points = boundary.points
    if points.shape != x.shape or points.dtype != x.dtype or points.device != x.device:
        raise ValueError(
            f"{call}: boundary holds points {tuple(points.shape)} of {points.dtype} on {points.device} for images "
            f"{tuple(x.shape)} of {x.dtype} on {x.device}; search with the same images."
        )
    moved = (points - x.detach()).flatten(1).norm(dim=1)
    if (boundary.success & ~torch.isclose(moved, boundary.distance_l2, rtol=1e-3, atol=1e-5)).any():
        raise ValueError(f"{call}: boundary was searched from other images, or from these in another order.")
    right = torch.ones_like(boundary.success) if target is None else asked == boundary.own
    return ensemble, boundary, boundary.success & right


def explain_side(explain: Callable[[Tensor], Tensor], boundary: Boundary, explained: Tensor, rival: bool) -> Tensor:
    """Maps of the decision, or of its lead over the class across the boundary; NaN for images without explanation.

    Args:
        explain: classes `[B]` -> maps `[S, B, *image]`, linear in what is explained.
        boundary: gives the classes.
        explained: for which images there is an explanation `[B]`.
        rival: subtract the maps of the class across the boundary.
    """
    maps = explain(boundary.own)
    if rival:
        maps = maps - explain(boundary.other)
    return torch.where(explained.view(-1, *[1] * (maps.ndim - 2)), maps, torch.nan)
