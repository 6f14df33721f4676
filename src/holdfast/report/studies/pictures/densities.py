"""densities: the distribution of per-image differences to the deterministic network, one line for each number of draws.

Kernel density estimate with normal kernels; bandwidth 1.06 sd n^(-1/5) (Silverman 1986, eq. 3.28), at least 0.01.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.report.figures.canvas import finish, panel, slug, tint
from holdfast.report.palette import light
from holdfast.report.studies.names import in_words, look, ordered, treatment_title, value_title
from holdfast.report.studies.pictures import Row, Sheet
from holdfast.report.studies.rows import CONTROL, Lookup, chosen, differences, present
from holdfast.report.studies.sliders import Drawn, Mark, scale_of
from holdfast.report.wording import signed

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame

CAPTION = (
    "How the per-image differences in k-LRP to the deterministic network are spread: one line for each number of "
    "draws, all curves of a line with equal areas under them; controls are dashed. Mass to the right of zero: more of "
    "the most relevant pixels stay."
)
FIXED = ("draws",)
LEGEND = "others"
IN_NUMBERS = True
GRID = 61
LEAST = 0.01  # of the bandwidth: k-LRP has steps of about this size


def draw(sheet: Sheet) -> list[Row]:
    """One row for each layer."""
    tables = {preset: differences(sheet.table(preset, "resilience")) for preset in sheet.tables}
    tables = {p: t[t.attack != CONTROL] if "attack" in t.columns else t for p, t in tables.items()}
    found = [t for t in tables.values() if not t.empty]
    if not found:
        return []
    layers = list(dict.fromkeys(v for t in found for v in present(t, "layer")))
    draws = sorted({int(n) for t in found for n in t.draws.unique()}) if "draws" in found[0] else [0]
    rows = []
    for layer in layers:
        own = {preset: chosen(t, {"layer": layer}) for preset, t in tables.items()}
        ends = [q for t in own.values() if not t.empty for q in t.difference.quantile([0.005, 0.995])] or [-0.1, 0.1]
        limits = min(*ends, -0.1) - 0.05, max(*ends, 0.1) + 0.05
        drawn = {p: _draw(sheet, p, layer, t, draws, limits) for p, t in own.items() if not t.empty}
        rows.append(Row(value_title("layer", layer) if len(layers) > 1 else "", drawn))
    return rows


def density(values: "ndarray", grid: "ndarray") -> "ndarray":
    """The estimate at the points of a grid.

    >>> import numpy
    >>> grid = numpy.linspace(-1, 1, 201)
    >>> round(float(density(numpy.zeros(9), grid).sum() * 0.01), 6)
    1.0
    """
    import numpy as np

    width = max(1.06 * float(values.std()) * len(values) ** -0.2, LEAST)
    z = (grid[:, None] - values[None]) / width
    return np.exp(-0.5 * z**2).sum(1) / (len(values) * width * np.sqrt(2 * np.pi))


def _draw(sheet: Sheet, preset: str, layer: int, table: "DataFrame", draws: Sequence[int], limits: Any) -> Drawn:
    import numpy as np
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    grid = np.linspace(*limits, GRID)
    treatments, settings, start = ordered(table.treatment), sheet.sliders.settings, sheet.sliders.start
    curves, rows = {}, Lookup(table)
    for line, n in enumerate(draws):
        for treatment in treatments:
            cells = [rows.values("difference", {"treatment": treatment, "draws": n, **s}) for s in settings]
            if len(cells[start]):
                curves[line, treatment] = cells
    with panel(0.65 + 0.85 * len(draws)) as (figure, axes):
        marks, described = [], []
        for line, n in enumerate(draws):
            own = {t: [density(c, grid) if len(c) else None for c in v] for (i, t), v in curves.items() if i == line}
            tops = [
                max((float(h[i].max()) for h in own.values() if h[i] is not None), default=1.0)
                for i in range(len(settings))
            ]
            for treatment, heights in own.items():
                name, colour = f"d{line}{treatment}".replace("_", ""), light(look(treatment)[0])
                scaled = [None if h is None else (0.9 * h / top).tolist() for h, top in zip(heights, tops)]
                points = [(limits[0], line), *((x, line - h) for x, h in zip(grid, scaled[start])), (limits[1], line)]
                style = {"edgecolor": colour, "facecolor": tint(colour, 0.16), "linewidth": 1.6}
                if treatment not in sheet.panel.treatments:
                    style = {"edgecolor": colour, "facecolor": "none", "linewidth": 1.1, "linestyle": (0, (3, 1.5))}
                axes.add_patch(PathPatch(Path(points), **style, gid=name, zorder=2))
                marks.append((name, line, tuple(scaled)))
                middle = float(np.median(curves[line, treatment][start]))
                described.append(f"{treatment_title(treatment)}, {_draws(sheet, n)}: {signed(middle)}")
        axes.axvline(0, color=light("muted"), linewidth=1, zorder=1)
        axes.set_yticks(range(len(draws)), [_draws(sheet, n).replace(" (", "\n(") for n in draws], va="bottom")
        axes.set_ylim(len(draws) - 0.92, -1.02)
        axes.set_xlim(limits)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("k-LRP minus that of the deterministic network")
        text = f"Densities of per-image differences in k-LRP, {sheet.study.id}, {sheet.panel.title}, "
        text += in_words({"layer": layer, **sheet.sliders.own}, sheet.here)
        text += f", {preset}. Medians: {'; '.join(described)}."
        plot = finish(figure, slug(*sheet.names(f"layer{layer}", preset)), text, png=False)
        scale = scale_of(axes)
        place = {"left": limits[0], "right": limits[1]}
        return Drawn(plot, tuple(Mark(n, "ridge", v, place | {"line": line}) for n, line, v in marks), scale)


def _draws(sheet: Sheet, count: int) -> str:
    return value_title("draws", count, sheet.here) if count else ""
