"""R-hat of what the draws compute: for each family of functions, the share that stays below a value of R-hat.

One panel per posterior of several chains. Read it from the left: a family whose line is high at 1.05 has mixed.
"""

import math
from collections.abc import Mapping, Sequence

from holdfast.diagnostics import Diagnosis
from holdfast.diagnostics.functions import TITLES
from holdfast.diagnostics.mixing import FAIR, GOOD
from holdfast.report.figures.canvas import Plot, finish, panel, slug
from holdfast.report.palette import MARKERS, light
from holdfast.report.wording import number

_COLOURS = (3, 1, 2, 4, 5)  # series of the palette, one for each family: no grey, which is a baseline's
_LARGEST = 6.0  # R-hat at which the axis ends; what is beyond is drawn at its end


def mixing(diagnosis: Diagnosis, titles: Mapping[str, str] | None = None) -> list[Plot]:
    """One panel per ensemble that has R-hats, under its title if one is given; empty where none has."""
    titles, curves = titles or {}, {name: _known(own) for name, own in diagnosis.curves.items()}
    drawn = [_clipped(c) for own in curves.values() for c in own.values()]
    limits = min([0.99, *(c[0] for c in drawn)]), max([1.3, *(c[-1] for c in drawn)])
    shown = [name for name, own in curves.items() if own]
    return [_panel(name, titles.get(name, name), curves[name], diagnosis.verdicts[name], limits) for name in shown]


def _panel(
    name: str, title: str, curves: Mapping[str, Sequence[float]], verdict: str, limits: tuple[float, float]
) -> Plot:
    with panel(3.2) as (figure, axes):
        described = []
        for i, family in enumerate(f for f in TITLES if f in curves):
            values = _clipped(curves[family])
            shares = [j / (len(values) - 1) for j in range(len(values))]
            colour = light(f"series-{_COLOURS[i % len(_COLOURS)]}")
            axes.step(
                values, shares, where="post", color=colour, marker=MARKERS[i % len(MARKERS)], markersize=5,
                markevery=(5 + 4 * i, 25), label=TITLES[family],
            )  # fmt: skip
            high = ["infinity" if math.isinf(v) else number(v) for v in (curves[family][90], curves[family][99])]
            described.append(f"{TITLES[family]}: 90 % below {high[0]}, 99 % below {high[1]}")
        for limit in (GOOD, FAIR):
            axes.axvline(limit, color=light("muted"), linewidth=1, linestyle=(0, (2, 2)))
            where = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "xytext": (2, 2)}
            axes.annotate(f"{limit:g}", (limit, 1), ha="left", va="bottom", fontsize=9, color=light("muted"), **where)
        axes.set_xscale("log")
        smallest, largest = limits
        ticks = [t for t in ((1.0, 1.1, 1.3) if largest < 1.5 else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)) if t <= largest]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_xticks([], minor=True)
        axes.set_xlim(smallest * 0.995, largest * 1.02)
        axes.set_ylim(0, 1.01)
        axes.set_yticks([0, 0.5, 0.9, 1.0], ["0", "50 %", "90 %", "100 %"])
        axes.grid(True, axis="y")
        axes.grid(False, axis="x")
        axes.set_xlabel("split R-hat, rank-normalised")
        axes.set_ylabel("share of functions")
        axes.tick_params(axis="y", labelcolor=light("muted"), length=0)
        axes.spines["left"].set_visible(False)
        figure.legend(loc="outside lower left", ncols=2)
        text = f"R-hat of {title}, {verdict}. {'; '.join(described)}."
        return finish(figure, slug("mixing", name), text, f"{title}: {verdict}")


def _known(curves: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """The families that have an R-hat: one chain alone has none."""
    return {family: curve for family, curve in curves.items() if not math.isnan(curve[0])}


def _clipped(values: Sequence[float]) -> list[float]:
    return [_LARGEST if math.isnan(v) else min(v, _LARGEST) for v in values]
