"""smoothing: how far SmoothGrad at an image lies from SmoothGrad at the boundary of the smoothed classifier.

Settings: data, points, draws, pick, `smooth` (see `boundary`), `of`: "class" for the gradient of the class decided for,
as published, "lead" for that of its lead over the class across the boundary, the normal. Needs: ensemble, boundary (of
the same smoothed classifier). Result: one row per distance and image.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from holdfast.explanations import saliency
from holdfast.studies.boundary_attributions import DISTANCES
from holdfast.studies.cells.alignment import on_explained
from holdfast.studies.cells.boundary import boundary_of, decider
from holdfast.studies.cells.boundary_map import explained
from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Compare the gradients here and there."""
    import pandas

    points, found = test_points(settings, context), boundary_of(needs["boundary"])
    ensemble = decider(settings, needs["ensemble"], tuple(points.images.shape[1:]))
    used = explained(settings, found).view(-1, 1, 1, 1)
    here, there = (
        torch.where(used, _gradient(settings["of"], ensemble, at, found.own, found.other, context.memory), torch.nan)
        for at in (points.images, found.points)
    )
    rows = {"image": range(len(points)), "correct": ~found.misclassified, "found": found.success}
    frames = [
        pandas.DataFrame({"distance": name, **rows, "value": on_explained(distance, here, there)})
        for name, distance in DISTANCES.items()
    ]
    return pandas.concat(frames, ignore_index=True)


def _gradient(
    of: str, ensemble: Any, at: torch.Tensor, own: torch.Tensor, other: torch.Tensor, memory: int
) -> torch.Tensor:
    if of not in ("class", "lead"):
        raise ValueError(f"studies: of must be 'class' or 'lead', got {of!r}.")
    gradient = saliency(ensemble, at, own, memory=memory).mean(0)
    return gradient if of == "class" else gradient - saliency(ensemble, at, other, memory=memory).mean(0)


KIND = Kind(compute, TableCodec(), ("attacks", "data", "explanations", "scores"))
