"""path_properties: what the methods that integrate along a path promise, measured image by image.

    completeness   |sum of the map - (f_c(x) - f_c(end))| / |f_c(x) - f_c(end)|,  end: black, or the boundary point
    end_gap        log p of the best minus that of the second best class at the end: 0 on a boundary
    end_decides    whether the end of the path is decided otherwise than the image

Settings: data, points, draws, pick. Needs: ensemble, boundary, and the maps of "IG from black", "IG from white" and
"BIG". Result: one row per explanation and image.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from holdfast.studies.cells.boundary import boundary_of
from holdfast.studies.codecs import TableCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Measure."""
    import pandas

    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    boundary, x = boundary_of(needs["boundary"]), points.images
    ends = {"IG from black": torch.zeros_like(x), "IG from white": torch.ones_like(x), "BIG": boundary.points}
    score = lambda at: ensemble.logits(at, memory=context.memory).mean(0).gather(1, boundary.own[:, None])[:, 0]
    frames = []
    for name, end in ends.items():
        maps = needs[name][0]["maps"]
        used = maps.flatten(1).isfinite().all(1)
        best = ensemble.log_predictive(end, memory=context.memory).topk(2).values
        change = score(x) - score(end)
        columns = {
            "completeness": (maps.flatten(1).sum(1) - change).abs() / change.abs(),
            "end_gap": best[:, 0] - best[:, 1],
            "end_decides": (ensemble.predict(end, memory=context.memory) != boundary.own).double(),
        }
        columns = {k: torch.where(used, v.double(), torch.nan) for k, v in columns.items()}
        flags = {"image": range(len(x)), "correct": ~boundary.misclassified, "found": boundary.success}
        frames.append(pandas.DataFrame({"explanation": name, **flags, **columns}))
    return pandas.concat(frames, ignore_index=True)


KIND = Kind(compute, TableCodec(), ("data",))
