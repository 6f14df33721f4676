"""boundary_distances: how far the boundary points of a search lie, image by image.

Needs: boundary. Result: one row per image: whether the image was decided rightly, whether a boundary point was found,
its distance in both norms and the gap of the decision there, the gradients spent, the search that won. Distances are
those of the points that explanations are made from: with `failed` "let in" those of failures too.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from holdfast.studies.cells.boundary import boundary_of
from holdfast.studies.cells.boundary_map import explained
from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Tell."""
    import pandas

    found = boundary_of(needs["boundary"])
    used, right = explained(settings, found), ~found.misclassified
    only = lambda values, rows: torch.where(rows, values.double(), torch.nan)
    columns = {
        "image": range(len(found)),
        "correct": right,
        "distance": only(found.distance_l2, used),
        "distance_linf": only(found.distance_linf, used),
        "found": only(found.success, right),
        "gap": only(found.gap, used),
        "gradients": found.gradients,
        "found_by": found.found_by,
    }
    return pandas.DataFrame(columns)


KIND = Kind(compute, TableCodec(), ())
