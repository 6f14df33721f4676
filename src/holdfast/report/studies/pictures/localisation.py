"""localisation: how scores of explanations are spread over images, explanation by explanation."""

from typing import TYPE_CHECKING, Any

from holdfast.report.studies.box_rows import Group, box_rows, span
from holdfast.report.studies.names import ordered
from holdfast.report.studies.pictures import Row, Sheet
from holdfast.report.studies.rows import Lookup, chosen, present, quantiles, shared
from holdfast.report.studies.sliders import Drawn
from holdfast.report.wording import THIN

if TYPE_CHECKING:
    from pandas import DataFrame

CAPTION = (
    "Scores image by image: boxes hold the middle half, the heavy line is the median, whiskers reach from 5 to "
    f"95{THIN}%. Explanations that look at nothing, such as noise or the centre, stand beside the methods."
)
FIXED = ("draws", "k", "epsilon")
LEGEND = "all"
IN_NUMBERS = True


def draw(sheet: Sheet) -> list[Row]:
    """One row for each score."""
    tables = {p: t for p in sheet.tables if not (t := sheet.table(p, "localisation")).empty}
    scores = list(dict.fromkeys(v for t in tables.values() for v in present(t, "score")))
    rows = []
    for score in scores:
        own = {p: chosen(t, {"score": score}) for p, t in tables.items()}
        groups = {p: g for p, t in own.items() if (g := _groups(sheet, t))}
        limits = shared({p: span(g) for p, g in groups.items()})
        drawn = {p: Drawn(_draw(sheet, p, score, g, limits[p])) for p, g in groups.items()}
        rows.append(Row(str(score).replace("_", " "), drawn))
    return rows


def _groups(sheet: Sheet, table: "DataFrame") -> list[Group]:
    groups, rows, treatments = [], Lookup(table.dropna(subset="value")), ordered(table.treatment)
    for explanation in present(table, "explanation"):
        values = {t: rows.values("value", {"explanation": explanation, "treatment": t}) for t in treatments}
        if any(len(v) for v in values.values()):
            groups.append(Group(str(explanation), {t: quantiles(v) for t, v in values.items()}))
    return groups


def _draw(sheet: Sheet, preset: str, score: Any, groups: list[Group], limits: tuple[float, float]) -> Any:
    text = f"Scores of explanations, {sheet.study.id}, {sheet.panel.title}, {score}, {preset}."
    return box_rows(sheet.names(str(score), preset), groups, str(score).replace("_", " "), text, limits, zero=False)
