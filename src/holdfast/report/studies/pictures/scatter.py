"""scatter: softmax robustness against k-LRP, image by image, with Spearman's correlation of every treatment."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from holdfast.report.figures.canvas import finish, panel, slug, tint
from holdfast.report.figures.scatter import spearman
from holdfast.report.palette import light
from holdfast.report.studies.names import BASE, in_words, look, ordered, treatment_title, value_title
from holdfast.report.studies.pictures import Row, Sheet
from holdfast.report.studies.rows import CONTROL, Lookup, chosen, present
from holdfast.report.studies.sliders import Drawn, Mark, scale_of
from holdfast.report.wording import THIN, interval, number

if TYPE_CHECKING:
    from pandas import DataFrame

CAPTION = (
    "Every dot is an image: how much the probabilities stayed, and how many of the most relevant pixels; or a network: "
    "its accuracy, and its mean softmax robustness. ρ is "
    f"Spearman's correlation with its 95{THIN}% interval; the paper's number follows where there is one. Controls have "
    "a correlation too, but no dots."
)
FIXED = ()
LEGEND = "all"
IN_NUMBERS = True
MOST = 250  # dots of one kind
X, Y = "softmax_robustness", "k_lrp"
AXES = {
    "images": ("softmax robustness (1: probabilities unchanged)", "k-LRP (1: same top pixels)"),
    "networks": ("accuracy on clean images", "softmax robustness"),
}


def draw(sheet: Sheet) -> list[Row]:
    """One row for each layer."""
    tables = {preset: _pairs(sheet, preset) for preset in sheet.tables}
    found = [t for t in tables.values() if not t.empty]
    layers = list(dict.fromkeys(v for t in found for v in present(t, "layer")))
    rows = []
    for layer in layers:
        own = {preset: chosen(t, {"layer": layer}) for preset, t in tables.items()}
        lines = max(t.treatment.nunique() for t in own.values() if not t.empty)
        drawn = {p: _draw(sheet, p, layer, t, lines) for p, t in own.items() if not t.empty}
        rows.append(Row(value_title("layer", layer) if len(layers) > 1 else "", drawn))
    return rows


def _pairs(sheet: Sheet, preset: str) -> "DataFrame":
    """Rows of k-LRP with the softmax robustness of the same image under the same attack."""
    table, more = sheet.table(preset, "resilience"), sheet.table(preset, "predictions")
    networks = sheet.table(preset, "networks")
    if not networks.empty:  # each a dot of its own
        return networks.rename(columns={"accuracy": X, "robustness": Y})
    if table.empty or X not in more.columns:
        return table.iloc[:0]
    keys = [c for c in ("treatment", "draws", "seed", "attack", "epsilon", "image") if c in table.columns]
    found = table.merge(more[[*keys, X]], on=keys)
    found = found[found.attack != CONTROL].dropna(subset=[X, Y])
    return chosen(found, {"rule": sheet.panel.rules[0]})


def _draw(sheet: Sheet, preset: str, layer: int, table: "DataFrame", lines: int) -> Drawn:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    treatments, settings, start = ordered(table.treatment), sheet.sliders.settings, sheet.sliders.start
    rows = Lookup(table)
    shown = [t for t in treatments if t in (BASE, *sheet.panel.treatments)]
    with panel(2.9 + 0.17 * lines) as (figure, axes):
        marks, described = [], []
        for line, treatment in enumerate(reversed(treatments)):
            cells = [{"treatment": treatment, **s} for s in settings]
            x = [(rows.values(X, c), rows.values(Y, c)) for c in cells]
            paper = sheet.paper("correlation", treatment=treatment, layer=layer, **sheet.sliders.own)
            words = [_rho(treatment, *pair, paper if i == start else None) for i, pair in enumerate(x)]
            name, colour = treatment.replace("_", ""), light(look(treatment)[0])
            at = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom", "fontsize": 9.5}
            axes.annotate(look(treatment)[2], (0, 1), xytext=(0, 6 + 12.5 * line), color=colour, **at)
            axes.annotate(words[start], (0, 1), xytext=(13, 6 + 12.5 * line), color=light("ink"), gid=f"{name}r", **at)
            marks.append(Mark(f"{name}r", "text", tuple(words)))
            described.append(words[start])
            if treatment in shown:
                clouds = [_cloud(*pair) for pair in x]
                style = {"edgecolor": tint(colour, 0.55), "facecolor": "none", "linewidth": 4.2, "capstyle": "round"}
                points, codes = _dots(*clouds[start])
                axes.add_patch(PathPatch(Path(points, codes), **style, gid=f"{name}c", zorder=2))
                across = list(dict.fromkeys(x for x, _ in clouds))
                place = {"across": across, "which": [across.index(x) for x, _ in clouds]}
                marks.append(Mark(f"{name}c", "cloud", tuple(y for _, y in clouds), place))
        axes.annotate("\u200b", (0, 1), xytext=(0, 6 + 12.5 * (lines - 1)), **at)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.grid(True, axis="both")
        across, up = AXES["images" if "image" in table.columns else "networks"]
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.tick_params(length=0, axis="both", labelcolor=light("muted"))
        text = f"{up} against {across}, {sheet.study.id}, {sheet.panel.title}, "
        text += in_words({"layer": layer, **sheet.sliders.own}, sheet.here)
        text += f", {preset}. {'; '.join(reversed(described))}."
        plot = finish(figure, slug(*sheet.names(f"layer{layer}", preset)), text, png=False)
        return Drawn(plot, tuple(marks), scale_of(axes))


def _cloud(x: Any, y: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Where the dots are, across and up."""
    every = max(1, math.ceil(len(x) / MOST))
    across, up = (tuple(round(float(v), 3) for v in values[::every]) for values in (x, y))
    return across, up


def _dots(across: Sequence[float], up: Sequence[float]) -> tuple[list[tuple[float, float]], list[int]]:
    """Lines of almost no length, whose round ends are dots: one path for the whole cloud."""
    dots = list(zip(across, up)) or [(-1.0, -1.0)]
    points = [p for x, y in dots for p in ((x, y), (x + 1e-3, y))]
    return points, [1, 2] * (len(points) // 2)


def _rho(treatment: str, x: Any, y: Any, paper: float | None) -> str:
    rho, low, high = spearman(x, y)
    said = f"ρ = {number(rho)} {interval(low, high)}" if math.isfinite(rho) else "ρ not defined"
    return f"{treatment_title(treatment)}: {said}" + (f", paper {number(paper)}" if paper is not None else "")
