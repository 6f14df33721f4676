"""Gallery: example images with their clean and attacked heatmaps, as PNG data URIs on one common scale per image.

Logits of different ensembles differ in size, and so does their relevance. So both maps of an ensemble are divided
by the total |R| of its clean map: a pixel's value is its share of the clean map. All heatmaps of one image, of every
ensemble, clean and attacked, then share one linear scale that is symmetric about zero. Its end is the 99.5 % quantile
over these maps; what lies beyond has the colour of the end. Red speaks for the explained class, blue against it.
"""

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.report.view import View
from holdfast.report.wording import DASH, number
from holdfast.studies.result import Gallery

if TYPE_CHECKING:
    from numpy import ndarray

COLOURS = "RdBu_r"  # safe for the common colour-vision deficiencies, white at zero
QUANTILE = 0.995
MOST = 12  # images on the page


@dataclass(frozen=True)
class Shown:
    """One ensemble's view of one image: data URIs and what is said beneath them."""

    title: str
    colour: str
    attacked: str
    clean_map: str
    attacked_map: str
    clean_class: str
    attacked_class: str
    changed: bool
    kept: str


@dataclass(frozen=True)
class Example:
    """One image of the gallery."""

    row: int
    label: str
    image: str
    scale: str
    shown: list[Shown]


def examples(view: View) -> list[Example]:
    """What the page shows of the gallery; empty where there is none."""
    gallery = view.result.gallery
    return [] if gallery is None else [_example(view, gallery, i) for i in range(min(MOST, len(gallery.images)))]


def scale_bar() -> str:
    """The colour scale from minus to plus one, as a data URI."""
    import numpy as np

    return _heat(np.linspace(-1, 1, 129)[None], 1.0)


def sheet(view: View) -> bytes | None:
    """All examples as one PNG for slides and papers: per ensemble the attacked image, clean and attacked heatmap."""
    import matplotlib
    from matplotlib.figure import Figure

    gallery = view.result.gallery
    if gallery is None or len(gallery.images) == 0:
        return None
    count, names = min(MOST, len(gallery.images)), list(gallery.clean_maps)
    with matplotlib.rc_context({"text.parse_math": False, "font.size": 6}):
        figure = Figure(figsize=(0.9 * (1 + 3 * len(names)), 0.95 * count + 0.4), facecolor="white")
        axes = figure.subplots(count, 1 + 3 * len(names), squeeze=False)
        for i in range(count):
            shares = _shares(gallery, i)
            limit = _limit(shares)
            _show(axes[i, 0], _picture(gallery.images[i]), "clean image" if i == 0 else "")
            for j, name in enumerate(names):
                title = view.result.ensemble(name).title[:24]
                heads = (f"{title}\nattacked image", "clean map", "attacked map") if i == 0 else ("", "", "")
                _show(axes[i, 1 + 3 * j], _picture(gallery.attacked[name][i]), heads[0])
                for k, values in enumerate(shares[name]):
                    _show(axes[i, 2 + 3 * j + k], values / limit, heads[1 + k], COLOURS)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    return file.getvalue()


def _example(view: View, gallery: Gallery, i: int) -> Example:
    shares = _shares(gallery, i)
    limit = _limit(shares)
    shown = [_shown(view, gallery, name, i, [_heat(values, limit) for values in maps]) for name, maps in shares.items()]
    picture = _uri(_picture(gallery.images[i]))
    return Example(int(gallery.rows[i]), _class(view, gallery.labels[i]), picture, f"{100 * limit:.2g}", shown)


def _shown(view: View, gallery: Gallery, name: str, i: int, heats: list[str]) -> Shown:
    scores = view.scores(name, gallery.attack, gallery.epsilon, gallery.rule)
    kept = scores.loc[scores["image"] == int(gallery.rows[i]), "k_lrp"]
    clean, attacked = gallery.clean_predictions[name][i], gallery.attacked_predictions[name][i]
    return Shown(
        view.result.ensemble(name).title,
        view.colour(name),
        _uri(_picture(gallery.attacked[name][i])),
        *heats,
        _class(view, clean),
        _class(view, attacked),
        int(clean) != int(attacked),
        number(float(kept.iloc[0])) if len(kept) else DASH,
    )


def _shares(gallery: Gallery, i: int) -> dict[str, list["ndarray"]]:
    """Per ensemble the clean and the attacked map of one image, as shares of the clean map's total |R|."""
    shares = {}
    for name, maps in gallery.clean_maps.items():
        total = float(abs(_numpy(maps[i])).sum())
        pair = (maps[i], gallery.attacked_maps[name][i])
        shares[name] = [_numpy(values) / (total if total > 0 else 1.0) for values in pair]
    return shares


def _limit(shares: dict[str, list["ndarray"]]) -> float:
    """The end of the scale that all heatmaps of one image have in common."""
    import numpy as np

    limit = float(np.quantile(np.abs([values for pair in shares.values() for values in pair]), QUANTILE))
    return limit if limit > 0 else 1.0


def _class(view: View, index: object) -> str:
    i = int(index)
    return view.result.classes[i] if 0 <= i < len(view.result.classes) else str(i)


def _numpy(values: object) -> "ndarray":
    import numpy as np

    array = np.nan_to_num(np.asarray(values, dtype="float64"))
    return array[None] if array.ndim == 1 else array


def _picture(image: object) -> "ndarray":
    """An image `[C, H, W]` as 8-bit pixels, `[H, W]` or `[H, W, 3]`."""
    import numpy as np

    pixels = np.round(np.clip(_numpy(image), 0, 1) * 255).astype("uint8")
    if pixels.ndim == 3:
        pixels = pixels[0] if len(pixels) != 3 else pixels.transpose(1, 2, 0)
    return pixels


def _heat(values: "ndarray", limit: float) -> str:
    """A heatmap as a data URI, one byte per pixel with a palette of 255 colours, the middle one for zero."""
    import matplotlib
    import numpy as np
    from PIL import Image

    levels = np.round(np.clip(values / limit, -1, 1) * 127 + 127).astype("uint8")
    image = Image.fromarray(levels).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    colours = matplotlib.colormaps[COLOURS](np.linspace(0, 1, 255))[:, :3]
    image.putpalette(np.round(colours * 255).astype("uint8").tobytes())
    return _png(image)


def _uri(pixels: "ndarray") -> str:
    from PIL import Image

    return _png(Image.fromarray(pixels))


def _png(image: object) -> str:
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _show(axes: object, pixels: "ndarray", title: str, colours: str = "gray") -> None:
    low, high = (0, 255) if colours == "gray" else (-1, 1)
    axes.imshow(pixels, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=6, pad=3)
