"""differences: boxes of per-image differences in k-LRP to the deterministic network, by attack, rule and treatment."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.report.figures.canvas import finish, panel, slug, tint
from holdfast.report.palette import light
from holdfast.report.studies.names import in_words, look, ordered, value_title
from holdfast.report.studies.pictures import Row, Sheet
from holdfast.report.studies.rows import CONTROL, Lookup, chosen, differences, present, quantiles
from holdfast.report.studies.sliders import Drawn, Mark, scale_of
from holdfast.report.wording import DASH, THIN, attack_title, rule_title, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

CAPTION = (
    "k-LRP of a network minus that of the deterministic one on the same image. Boxes hold the middle half of the "
    f"images, the heavy line is the median (its value stands at the right), whiskers reach from 5 to 95{THIN}%. "
    "A hollow diamond is the paper's number; a hollow circle is the median under random noise of the same size, which "
    "no attack made."
)
FIXED = ()
LEGEND = "others"
IN_NUMBERS = True
HALF = 0.32  # of a box's height, in lines


def draw(sheet: Sheet) -> list[Row]:
    """One row for each layer."""
    tables = {preset: differences(sheet.table(preset, "resilience")) for preset in sheet.tables}
    found = [t for t in tables.values() if not t.empty]
    if not found:
        return []
    layers = list(dict.fromkeys(v for t in found for v in present(t, "layer")))
    groups = list(dict.fromkeys(g for t in found for g in _groups(t)))
    treatments = ordered(t for table in found for t in table.treatment)
    rows = []
    for layer in layers:
        own = {preset: chosen(t, {"layer": layer}) for preset, t in tables.items()}
        limits = _limits(own.values(), sheet)
        drawn = {
            preset: _draw(sheet, preset, layer, table, groups, treatments, limits)
            for preset, table in own.items()
            if not table.empty
        }
        rows.append(Row(value_title("layer", layer) if len(layers) > 1 else "", drawn))
    return rows


def _groups(table: "DataFrame") -> Iterator[tuple[str, str]]:
    attacks = [a for a in present(table, "attack") if a != CONTROL] or present(table, "attack")
    return ((a, r) for a in attacks for r in present(table, "rule"))


def _values(rows: Lookup, group: tuple[str, str], treatment: str, setting: dict[str, float]) -> Any:
    labels = {"attack": group[0], "rule": group[1], "treatment": treatment, **setting}
    return rows.values("difference", labels)


def _limits(tables: Any, sheet: Sheet) -> tuple[float, float]:
    """From the lowest to the highest whisker at any setting, zero and the paper's numbers in sight."""
    labels = ["attack", "rule", "treatment", *(s.name for s in sheet.sliders.sliders)]
    ends = [float(e.paper) for e in sheet.evidence if e.quantity == "difference" and isinstance(e.paper, float | int)]
    for table in tables:
        if not table.empty:
            by = [c for c in labels if c in table.columns]
            ends += table.groupby(by).difference.quantile([0.05, 0.95]).tolist()
    low, high = min([*ends, -0.02]), max([*ends, 0.02])
    return low - 0.04 * (high - low), high + 0.04 * (high - low)


def _draw(
    sheet: Sheet, preset: str, layer: int, table: "DataFrame", groups: Sequence[tuple[str, str]],
    treatments: Sequence[str], limits: tuple[float, float],
) -> Drawn:  # fmt: skip
    attacks = list(dict.fromkeys(a for a, _ in groups))
    lines = len(treatments) + 0.7
    own, rows = sheet.sliders.own, Lookup(table)
    with panel(0.62 + 0.19 * lines * len(groups)) as (figure, axes):
        marks, described, centres = [], [], []
        for g, group in enumerate(groups):
            centres.append(g * lines + (len(treatments) - 1) / 2)
            for t, treatment in enumerate(treatments):
                name, y = f"g{g}t{t}", g * lines + t
                boxes = [quantiles(_values(rows, group, treatment, s)) for s in sheet.sliders.settings]
                noise = [_median(_values(rows, (CONTROL, group[1]), treatment, s)) for s in sheet.sliders.settings]
                box, still = boxes[sheet.sliders.start], noise[sheet.sliders.start]
                marks += _line(axes, name, y, treatment, boxes, box)
                if CONTROL not in group:
                    marks += _noise(axes, name, y, noise, still)
                where = {"treatment": treatment, "attack": group[0], "rule": group[1], "layer": layer, **own}
                paper = sheet.paper("difference", **where)
                if paper is not None:
                    axes.plot(
                        paper, y, "D", color=light("ink"), markerfacecolor=light("paper"), markersize=5.5, zorder=5
                    )
                described.append(
                    f"{in_words({k: where[k] for k in ('treatment', 'attack', 'rule')})} {_said(box, paper)}"
                )
        titles = [_title(group, len(attacks) > 1) for group in groups]
        _axes(axes, centres, titles, (len(groups) * lines - 0.7, -0.7), limits)
        text = f"Box plots of per-image differences in k-LRP, {sheet.study.id}, {sheet.panel.title}, "
        text += f"{in_words({'layer': layer, **own}, sheet.here)}, {preset}. Medians: {'; '.join(described)}."
        plot = finish(figure, slug(*sheet.names(f"layer{layer}", preset)), text, png=False)
        return Drawn(plot, tuple(_placed(m, scale_of(axes)) for m in marks), scale_of(axes))


def _line(axes: "Axes", name: str, y: float, treatment: str, boxes: list, box: list[float] | None) -> list[Mark]:
    """A box with its whiskers and the value of its median."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    colour = light(look(treatment)[0])
    known = any(b is not None for b in boxes)
    at, ink = (1, y), light("ink" if known else "muted")
    label = axes.annotate(
        signed(box[2]) if box else DASH, at, xycoords=("axes fraction", "data"), xytext=(38, 0), ha="right",
        textcoords="offset points", va="center", fontsize=9, color=ink,
    )  # fmt: skip
    if not known:
        return []
    low, first, middle, third, high = box or [0.0] * 5
    parts = {
        "w": ([(low, y), (first, y), (third, y), (high, y)], {"linewidth": 1.2, "edgecolor": colour}),
        "b": ([(first, y - HALF), (third, y - HALF), (third, y + HALF), (first, y + HALF), (first, y - HALF)],
              {"linewidth": 1.2, "edgecolor": colour, "facecolor": tint(colour)}),
        "m": ([(middle, y - HALF), (middle, y + HALF)], {"linewidth": 2.2, "edgecolor": light("ink")}),
    }  # fmt: skip
    for part, (points, style) in parts.items():
        codes = [1, 2, 1, 2] if part == "w" else [1] + [2] * (len(points) - 1)
        patch = PathPatch(
            Path(points, codes), **{"facecolor": "none", **style}, gid=f"{name}{part}", zorder=2 + (part == "m")
        )
        patch.set_visible(box is not None)
        axes.add_patch(patch)
    label.set_gid(f"{name}v")
    words = tuple(signed(b[2]) if b else DASH for b in boxes)
    return [Mark(name, "box", tuple(boxes), {"y": y}), Mark(f"{name}v", "text", words)]


def _noise(axes: "Axes", name: str, y: float, noise: list, still: float | None) -> list[Mark]:
    if still is None:
        return []
    axes.plot(
        still,
        y,
        "o",
        color=light("ink"),
        markerfacecolor="none",
        markersize=5,
        markeredgewidth=1,
        gid=f"{name}n",
        zorder=4,
    )
    return [Mark(f"{name}n", "point", tuple(noise))]


def _placed(mark: Mark, scale: tuple[float, float, float, float]) -> Mark:
    """A mark with its height on the paper."""
    if mark.kind != "box":
        return mark
    y = scale[2] + scale[3] * mark.place["y"]
    return Mark(mark.name, mark.kind, mark.values, {"y": y, "half": abs(HALF * scale[3])})


def _axes(axes: "Axes", centres: list[float], titles: list[str], lines: tuple[float, float], limits: Any) -> None:
    axes.axvline(0, color=light("muted"), linewidth=1, zorder=1)
    axes.set_yticks(centres, titles)
    axes.set_ylim(lines)
    axes.set_xlim(limits)
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("k-LRP minus that of the deterministic network")


def _title(group: tuple[str, str], several: bool) -> str:
    return f"{attack_title(group[0])}\n{rule_title(group[1])}" if several else rule_title(group[1])


def _median(values: Any) -> float | None:
    import numpy as np

    return float(np.median(values)) if len(values) else None


def _said(box: list[float] | None, paper: float | None) -> str:
    return (signed(box[2]) if box else "none") + (f" (paper {signed(paper)})" if paper is not None else "")
