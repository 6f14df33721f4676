"""Sliders: one figure for several numbers of draws and several k, redrawn on the page from the numbers in its tables.

A drawing is made at the figure's own setting, and stays so where no script runs. What a slider moves are *marks*: parts
of the drawing that have a name in it and their numbers at every setting. The script of the page turns numbers into
places on the paper and nothing else; it computes no statistics.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from holdfast.report.figures import Plot
from holdfast.report.studies.names import value_title
from holdfast.studies.reproduce.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

MOVED = ("draws", "k", "epsilon")
DIGITS = 4
THOUSANDTHS = ("ridge", "cloud")  # of many numbers, which lie between 0 and 1


@dataclass(frozen=True)
class Slider:
    """One label that can be moved: its values, where it stands at first, and how each is called."""

    name: str
    values: tuple[float, ...]
    start: int
    titles: tuple[str, ...]


@dataclass(frozen=True)
class Sliders:
    """The sliders of a figure; the last one varies fastest in the order of settings."""

    sliders: tuple[Slider, ...] = ()

    @property
    def settings(self) -> list[dict[str, float]]:
        """Every combination of values."""
        names = [s.name for s in self.sliders]
        return [dict(zip(names, values)) for values in product(*(s.values for s in self.sliders))]

    @property
    def start(self) -> int:
        """The place of the figure's own setting among the settings."""
        place = 0
        for slider in self.sliders:
            place = place * len(slider.values) + slider.start
        return place

    @property
    def own(self) -> dict[str, float]:
        """The figure's own setting."""
        return self.settings[self.start]

    @property
    def movable(self) -> tuple[Slider, ...]:
        """Those that have more than one value."""
        return tuple(s for s in self.sliders if len(s.values) > 1)


@dataclass(frozen=True)
class Mark:
    """A part of a drawing that sliders move.

    Attributes:
        name: the id of its group in the drawing.
        kind: "box" (five quantiles), "point" (a value), "ridge" (heights on a grid), "cloud" (heights of dots), "text"
            (words). The script is given those of a ridge and a cloud in whole thousandths.
        values: its numbers at every setting; None where there are none.
        place: what the script must know besides: height on the paper, half the height of a box, the end of a ridge, how
            far `across` the dots of a cloud lie and `which` of these lists belongs to which setting.
    """

    name: str
    kind: str
    values: tuple[Any, ...]
    place: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """A plot, and what sliders move in it.

    Attributes:
        plot: at the figure's own setting.
        marks: what moves.
        scale: (x at 0, x per unit, y at 0, y per unit) from data to the drawing.
    """

    plot: Plot
    marks: tuple[Mark, ...] = ()
    scale: tuple[float, float, float, float] = (0.0, 1.0, 0.0, 1.0)

    @property
    def data(self) -> dict[str, Any]:
        """What the script is given."""
        name = self.plot.name
        marks = [{"id": f"{name}-{m.name}", "kind": m.kind, "values": m.values, **m.place} for m in self.marks]
        return {"scale": self.scale, "marks": [_short(m, m["kind"] in THOUSANDTHS) for m in marks]}


def sliders_of(
    study: Study, tables: Iterable["DataFrame"], counts: Mapping[int, int], fixed: Sequence[str] = ()
) -> Sliders:
    """The sliders that some tables of a study allow.

    Args:
        study: whose own setting is where they start.
        tables: those that are drawn.
        counts: number of draws in the paper -> here.
        fixed: labels that the picture shows in another way.
    """
    tables = [t for t in tables if not t.empty]
    found = []
    for name in MOVED:
        values = sorted({float(v) for t in tables if name in t.columns for v in t[name].dropna().unique()})
        if not values or name in fixed:
            continue
        own = {"k": study.panels[0].k, "draws": max(study.panels[0].draws)}.get(name, values[-1])
        start = min(range(len(values)), key=lambda i: abs(values[i] - own))
        found.append(Slider(name, tuple(values), start, tuple(_title(name, v, counts) for v in values)))
    return Sliders(tuple(found))


def scale_of(axes: "Axes") -> tuple[float, float, float, float]:
    """From data to the drawing of a finished figure with linear axes."""
    width, height = (72 * size for size in axes.figure.get_size_inches())
    box, (left, right), (low, high) = axes.get_position(), axes.get_xlim(), axes.get_ylim()
    x = box.width * width / (right - left)
    y = box.height * height / (high - low)
    return (box.x0 * width - x * left, x, height * (1 - box.y0) + y * low, -y)


def _title(name: str, value: float, counts: Mapping[int, int]) -> str:
    return value_title(name, int(value) if name == "draws" else value, counts)


def _short(value: Any, thousandths: bool = False) -> Any:
    """Numbers with few digits; what is not finite is null."""
    if isinstance(value, dict):
        return {k: _short(v, thousandths and k in ("values", "across")) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_short(v, thousandths) for v in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return round(1000 * value) if thousandths else round(value, DIGITS)
    return value
