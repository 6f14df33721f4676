"""curves: a mean over images with its interval, over the number of draws, the noise, the width, or the data."""

from typing import TYPE_CHECKING, Any

from holdfast.report.figures.canvas import finish, panel, slug, tint
from holdfast.report.palette import light
from holdfast.report.studies.names import look, ordered, treatment_title, value_alone
from holdfast.report.studies.pictures import Row, Sheet
from holdfast.report.studies.rows import Lookup, chosen, present, shared
from holdfast.report.studies.sliders import Drawn
from holdfast.report.wording import THIN, short

if TYPE_CHECKING:
    from pandas import DataFrame

CAPTION = (
    f"Means over images, with 95{THIN}% intervals from their standard errors. Where vectors are split into "
    "parts, full lines are those across the manifold, dashed lines those along it, dotted lines others."
)
FIXED = ("draws", "k", "epsilon")
LEGEND = "all"
IN_NUMBERS = True
OVER = {
    "draws": "number of draws", "spread": "standard deviation of the noise", "width": "width of the network",
    "train": "training images",
}  # fmt: skip
SHOWN = {
    "agreement": "agreement of different draws (0: they cancel)", "expected_l2": "size of the mean over draws",
    "expected_share": "share of the square of the mean", "value": "distance",
}  # fmt: skip
DASHES = {"tangent": "--", "normal": "-", "all": "-"}


def draw(sheet: Sheet) -> list[Row]:
    """One row for each number that is shown, of each kind of vector or distance."""
    tables = {p: t for p, named in sheet.tables.items() if (t := _longest(named)) is not None}
    kind = next((c for c in ("of", "distance") if all(c in t.columns for t in tables.values()) and tables), "")
    kinds = list(dict.fromkeys(v for t in tables.values() for v in present(t, kind)))
    shown = [c for c in SHOWN if any(c in t.columns for t in tables.values())]
    rows = []
    for value in kinds:
        own = {p: chosen(t, {kind: value} if kind else {}) for p, t in tables.items()}
        for column in shown:
            known = {p: t for p, t in own.items() if column in t.columns and t[column].notna().any()}
            limits = shared({p: _span(t, column) for p, t in known.items()})
            drawn = {p: Drawn(_draw(sheet, p, value, column, t, limits[p])) for p, t in known.items()}
            words = [value_alone(kind, value)] if len(kinds) > 1 else []
            if drawn:
                rows.append(Row(", ".join([*words, SHOWN[column]]), drawn))
    return rows


def _longest(named: Any) -> Any:
    """The table that has something to draw over."""
    known = [t for t in named.values() if not t.empty and _over(t)]
    return max(known, key=len) if known else None


def _over(table: "DataFrame") -> str:
    return next((c for c in OVER if c in table.columns and table[c].nunique() > 1), "")


def _span(table: "DataFrame", column: str) -> tuple[float, float]:
    """From the lowest to the highest end of an interval, and zero."""
    by = table.groupby([c for c in ("treatment", "part", _over(table)) if c in table.columns])[column]
    mean, error = by.mean(), 1.96 * by.sem().fillna(0)
    return min(0.0, float((mean - error).min())), max(0.0, float((mean + error).max()))


def _draw(sheet: Sheet, preset: str, kind: Any, column: str, table: "DataFrame", limits: tuple[float, float]) -> Any:
    over = _over(table)
    parts = present(table, "part")
    parts = [p for p in parts if p != "all"] or parts
    described, rows = [], Lookup(table)
    with panel(2.6) as (figure, axes):
        for treatment in ordered(table.treatment):
            for part in parts:
                own = rows({"treatment": treatment} | ({} if part is None else {"part": part}))
                if own.empty:
                    continue
                by = own.groupby(over)[column]
                mean, error = by.mean(), 1.96 * by.sem().fillna(0)
                colour = light(look(treatment)[0])
                style = "-" if part is None else DASHES.get(str(part), ":")
                x = mean.index.to_numpy(float)
                axes.fill_between(x, mean - error, mean + error, color=tint(colour, 0.18), linewidth=0)
                axes.plot(x, mean, style, color=colour, marker=look(treatment)[1], markersize=4.5)
                last = short(float(mean.iloc[-1]))
                described.append(f"{treatment_title(treatment)}{f', {part}' if part else ''}: {last} at {x[-1]:g}")
        values = sorted(table[over].unique())
        if values[0] > 0:
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{v:g}" for v in values])
        axes.set_xticks([], minor=True)
        axes.axhline(0, color=light("muted"), linewidth=1, zorder=1)
        axes.grid(True, axis="y")
        axes.grid(False, axis="x")
        axes.set_ylim(limits)
        axes.set_xlabel(OVER[over])
        axes.tick_params(axis="y", labelcolor=light("muted"), length=0)
        axes.spines["left"].set_visible(False)
        text = f"{SHOWN[column]}, {sheet.study.id}, {sheet.panel.title}, {kind}, {preset}. {'; '.join(described)}."
        return finish(figure, slug(*sheet.names(f"{kind}-{column}", preset)), text, png=False)
