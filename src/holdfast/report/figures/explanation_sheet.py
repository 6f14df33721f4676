"""Explanation sheet: one image, its nearest boundary point, and the maps of all methods side by side, as a PNG.

Maps of different methods have different units. So each is drawn on a linear scale of its own that is symmetric about
zero and ends at its 99.5 % quantile of |R|: red speaks for the class, blue against it, white is zero. A map that is NaN
(no boundary point was found) is drawn as an empty frame that says so.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from holdfast.attacks import Boundary
from holdfast.report.palette import light

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy import ndarray

COLOURS = "RdBu_r"  # safe for the common colour-vision deficiencies, white at zero
QUANTILE = 0.995
COLUMNS = 5


def explanation_sheet(
    image: Tensor,
    maps: Mapping[str, Tensor],
    boundary: Boundary,
    classes: Sequence[str],
    *,
    region: Tensor | None = None,
) -> bytes:
    """Draw one image with its maps.

    Args:
        image: `[C, H, W]` in [0, 1], C one or three.
        maps: method -> map `[C, H, W]`.
        boundary: of this image alone, `boundary[i : i + 1]`.
        classes: class names in label order.
        region: where the object is, a mask `[H, W]` of bool; its outline is drawn on every map.

    Returns:
        A PNG file.

    >>> import torch
    >>> from holdfast.attacks import nearest_boundary
    >>> from holdfast.ensemble import Ensemble
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    >>> x = torch.rand(1, 1, 4, 4)
    >>> found = nearest_boundary(Ensemble.from_networks(network), x, steps=10)
    >>> explanation_sheet(x[0], {"the image": x[0]}, found, ("a", "b"))[:4]
    b'\\x89PNG'
    """
    import matplotlib
    from matplotlib.figure import Figure

    if len(boundary) != 1:
        raise ValueError(
            f"explanation_sheet: boundary must be of one image, got {len(boundary)}; write boundary[i : i + 1]."
        )
    for name, values in maps.items():
        if values.shape != image.shape:
            raise ValueError(
                f"explanation_sheet: map {name!r} has shape {tuple(values.shape)}, the image {tuple(image.shape)}."
            )
    own, other = (classes[int(index)] for index in (boundary.own[0], boundary.other[0]))
    point = boundary.points[0]
    panels = [(f"image\n{own}", image, False)]
    if bool(boundary.success[0]):
        far = f"{float(boundary.distance[0]):.3g} away ({boundary.norm})"
        panels += [(f"boundary point\n{other}, {far}", point, False), ("point - image", point - image, True)]
    else:
        panels += [("no boundary point\nwas found", None, False)]
    panels += [("\n".join(textwrap.wrap(name, 24)), values, True) for name, values in maps.items()]
    rows = -(-len(panels) // COLUMNS)
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 8, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(1.7 * COLUMNS, 2.05 * rows), facecolor="white", layout="constrained")
        for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
            axes.set_axis_off()
        for axes, (title, values, signed) in zip(figure.axes, panels):
            axes.set_title(title, fontsize=8, color=light("ink"))
            _draw(axes, values, signed, region)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})
    return file.getvalue()


def _draw(axes: "Axes", values: Tensor | None, signed: bool, region: Tensor | None) -> None:
    import numpy as np

    if values is None or not bool(values.isfinite().all()):
        axes.text(0.5, 0.5, "no map", ha="center", va="center", color=light("muted"), transform=axes.transAxes)
        axes.set_box_aspect(1)
        return
    pixels = values.detach().double().cpu().numpy()
    if signed:
        pixels = pixels.sum(0)
        end = float(np.quantile(np.abs(pixels), QUANTILE)) or float(np.abs(pixels).max()) or 1.0
        axes.imshow(pixels, cmap=COLOURS, vmin=-end, vmax=end, interpolation="nearest")
        if region is not None:
            _outline(axes, region.cpu().numpy())
        return
    picture = pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels.mean(0)
    axes.imshow(np.clip(picture, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _outline(axes: "Axes", region: "ndarray") -> None:
    """The edge between the pixels of the region and the others."""
    import numpy as np

    inside = np.pad(region.astype(bool), 1)
    horizontal = np.argwhere(inside[1:, 1:-1] != inside[:-1, 1:-1])
    vertical = np.argwhere(inside[1:-1, 1:] != inside[1:-1, :-1])
    x, y = [], []
    for row, column in horizontal:
        x += [column - 0.5, column + 0.5, np.nan]
        y += [row - 0.5, row - 0.5, np.nan]
    for row, column in vertical:
        x += [column - 0.5, column - 0.5, np.nan]
        y += [row - 0.5, row + 0.5, np.nan]
    axes.plot(x, y, color=light("ink"), linewidth=0.5)
