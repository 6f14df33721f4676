"""boundary_sheet: the heatmaps of all methods for a few images, pixel by pixel.

Settings: data, points, `examples`: how many of the images that have a map. Needs: boundary, and the maps under their
names. Result: one row per explanation, example and pixel: value of the map, of the image, of the boundary point; the
channels of a map are summed, those of an image averaged; and, where the images have boxes, whether the pixel is inside.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from holdfast.data import Split
from holdfast.studies.cells.boundary import boundary_of
from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Lay out pixels."""
    import pandas

    points, boundary = test_points(settings, context), boundary_of(needs["boundary"])
    maps = {name: need[0]["maps"].sum(1) for name, need in needs.items() if name != "boundary"}
    finite = torch.stack([m.flatten(1).isfinite().all(1) for m in maps.values()]).all(0)
    chosen = finite.nonzero()[: settings["examples"], 0]
    height, width = points.images.shape[-2:]
    place = torch.arange(height * width)
    frames = []
    for name, values in maps.items():
        for example, image in enumerate(chosen.tolist()):
            columns = {
                "explanation": name,
                "example": example,
                "image": image,
                "label": int(points.labels[image]),
                "across": int(boundary.other[image]),
                "distance": float(boundary.distance_l2[image]),
                "row": place // width,
                "column": place % width,
                "value": values[image].flatten(),
                "image_value": points.images[image].mean(0).flatten(),
                "boundary_value": boundary.points[image].mean(0).flatten(),
                "inside": _inside(points, image, height, width),
            }
            frames.append(pandas.DataFrame(columns))
    return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame()


def _inside(points: Split, image: int, height: int, width: int) -> Any:
    masks = getattr(points, "masks", None)
    if masks is not None:
        return masks[image].flatten()
    if points.boxes is None:
        return False
    x0, y0, x1, y1 = points.boxes[image].tolist()
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return ((rows >= y0) & (rows <= y1) & (columns >= x0) & (columns <= x1)).flatten()


KIND = Kind(compute, TableCodec(), ("data",))
