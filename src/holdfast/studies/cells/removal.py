"""removal: of images with two items, does the decision depend on the item that a map points at?

Settings: data, points, draws, pick, seed. Needs: ensemble, boundary, and the maps of every method under its name.
Result: one row per explanation and image with two items: whether more of its positive relevance lies on the brighter
item, which makes the label; whether the decision changes when the item pointed at is replaced by the background
(`decisive`); and how much that is above the share of the two items whose removal changes it (`beyond_chance`). Maps
that know nothing of the network stand beside.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from holdfast import scores
from holdfast.data import PlacedSplit
from holdfast.studies.cells.boundary import boundary_of
from holdfast.studies.codecs import TableCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Remove either item and ask again."""
    import pandas

    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    if not isinstance(points, PlacedSplit):
        raise ValueError(f"studies: the images of {settings['data']} have no items that can be removed.")
    maps = {name: need[0]["maps"] for name, need in needs.items() if name not in ("ensemble", "boundary")}
    maps |= scores.know_nothing(points.images, seed=settings["seed"])
    decided = ensemble.predict(points.images, memory=context.memory)
    without = [ensemble.predict(points.removed(which), memory=context.memory) for which in ("first", "second")]
    changes = torch.stack([labels != decided for labels in without])
    boundary = boundary_of(needs["boundary"])
    finite = torch.stack([m.flatten(1).isfinite().all(1) for m in maps.values()]).all(0)
    rows = (finite & (points.second_labels >= 0)).nonzero()[:, 0]
    frames = []
    for name, values in maps.items():
        positive = values.sum(1).clamp(min=0)
        inside = [(positive * masks).flatten(1).sum(1) for masks in (points.masks, points.second_masks)]
        first = inside[0] > inside[1]
        decisive = torch.where(first, changes[0], changes[1]).double()
        columns = {
            "image": torch.arange(len(points)),
            "correct": ~boundary.misclassified,
            "found": boundary.success,
            "points_at_brighter": first.double(),
            "decisive": decisive,
            "beyond_chance": decisive - changes.double().mean(0),
            "changes_without_brighter": changes[0].double(),
            "changes_without_other": changes[1].double(),
        }
        frames.append(pandas.DataFrame({"explanation": name} | {k: v[rows] for k, v in columns.items()}))
    return pandas.concat(frames, ignore_index=True)


KIND = Kind(compute, TableCodec(), ("data", "scores"))
