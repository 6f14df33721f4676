"""localisation: do the maps of several methods point at the object? Every score, method and image.

Settings: data, points, seed, `region` ("boxes" or "masks"). Needs: boundary, and the maps of every method under its
name. Result: one row per explanation, score and image. Beside the methods stand maps that know nothing of the network:
noise, edges, a blob in the centre, the image itself. The value is NaN on images that some method does not explain, so
that all are compared on the same.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from holdfast import scores
from holdfast.studies.cells.boundary import boundary_of
from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Score."""
    import pandas

    points, boundary = test_points(settings, context), boundary_of(needs["boundary"])
    region = getattr(points, settings["region"], None)
    if region is None:
        raise ValueError(f"studies: the images of {settings['data']} have no {settings['region']}.")
    maps = {name: need[0]["maps"] for name, need in needs.items() if name != "boundary"}
    localised = scores.localise(maps, region, points.images, seed=settings["seed"])
    flags = {"image": range(len(points)), "correct": ~boundary.misclassified, "found": boundary.success}
    frames = [
        pandas.DataFrame(
            {"explanation": name, "score": score, **flags, "value": torch.where(localised.used, values, torch.nan)}
        )
        for name, by_score in localised.values.items()
        for score, values in by_score.items()
    ]
    return pandas.concat(frames, ignore_index=True)


KIND = Kind(compute, TableCodec(), ("data", "scores"))
