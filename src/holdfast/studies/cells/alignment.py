"""alignment: how far an explanation lies from another of the same image, such as saliency from the boundary's normal.

Settings: `pairs`, what a pair is called -> the names of its two maps. Needs: boundary, the maps under their names, and
`localisation` where the images have a region. Result: one row per pair, distance ("l2", as published; "relative" and
"cosine", free of scale) and image; beside it the localisation scores of the pair's first explanation.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from holdfast.studies.boundary_attributions import DISTANCES
from holdfast.studies.cells.boundary import boundary_of
from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Compare."""
    import pandas

    boundary, frames = boundary_of(needs["boundary"]), []
    flags = {"image": range(len(boundary)), "correct": ~boundary.misclassified, "found": boundary.success}
    for pair, (first, second) in settings["pairs"].items():
        scores = _scores(needs.get("localisation"), first)
        for name, distance in DISTANCES.items():
            value = on_explained(distance, needs[first][0]["maps"], needs[second][0]["maps"])
            rows = {"pair": pair, "distance": name, **flags, "value": value}
            frames.append(pandas.DataFrame(rows | scores))
    return pandas.concat(frames, ignore_index=True)


def on_explained(distance: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor) -> Tensor:
    """The distances `[B]` of two stacks of maps, NaN where one of them has none."""
    both = (first.isfinite() & second.isfinite()).flatten(1).all(1)
    values = torch.full((len(first),), torch.nan, dtype=torch.float64)
    if both.any():
        values[both] = distance(first[both], second[both]).double()
    return values


def _scores(table: "DataFrame | None", explanation: str) -> dict[str, Any]:
    """score -> values in the order of the images."""
    if table is None:
        return {}
    wide = table[table.explanation == explanation].pivot(index="image", columns="score", values="value").sort_index()
    return {score: wide[score].to_numpy() for score in wide.columns}


KIND = Kind(compute, TableCodec(), ("scores",))
