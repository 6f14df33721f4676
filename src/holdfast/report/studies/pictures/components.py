"""components: how all components of mean vectors are spread, by number of draws or by what else was varied."""

from typing import TYPE_CHECKING, Any

from holdfast.report.studies.box_rows import Group, box_rows, span
from holdfast.report.studies.names import in_words, ordered, value_alone
from holdfast.report.studies.pictures import Row, Sheet
from holdfast.report.studies.rows import chosen, present, shared
from holdfast.report.studies.sliders import Drawn
from holdfast.report.wording import THIN

if TYPE_CHECKING:
    from pandas import DataFrame

CAPTION = (
    "All components of all images together: boxes hold the middle half, the heavy line is the median, whiskers reach "
    f"from 1 to 99{THIN}%. A mean over draws shrinks towards its limit whatever the limit is."
)
FIXED = ("draws", "k", "epsilon")
LEGEND = "all"
IN_NUMBERS = True
LEVELS = (0.01, 0.25, 0.5, 0.75, 0.99)
VARIED = ("draws", "width", "train", "warm_up")
MOST = 24  # lines


def draw(sheet: Sheet) -> list[Row]:
    """One row for each kind of vector."""
    tables = {p: t for p in sheet.tables if not (t := sheet.table(p, "components")).empty}
    kinds = list(dict.fromkeys(v for t in tables.values() for v in present(t, "of")))
    rows = []
    for kind in kinds:
        own = {p: chosen(t, {} if kind is None else {"of": kind}) for p, t in tables.items()}
        groups = {p: g for p, t in own.items() if (g := _groups(sheet, t))}
        limits = shared({p: span(g) for p, g in groups.items()})
        drawn = {p: Drawn(_draw(sheet, p, kind, g, limits[p])) for p, g in groups.items()}
        rows.append(Row(value_alone("of", kind) if len(kinds) > 1 else "", drawn))
    return rows


def _groups(sheet: Sheet, table: "DataFrame") -> list[Group]:
    varied = [c for c in VARIED if c in table.columns and table[c].nunique() > 1]
    while varied and len(table[varied].drop_duplicates()) > MOST:
        varied.pop()
    places = table[varied].drop_duplicates().sort_values(varied).to_dict("records") if varied else [{}]
    groups = []
    for place in places:
        own = chosen(table, place)
        boxes = {t: _box(chosen(own, {"treatment": t})) for t in ordered(table.treatment)}
        if any(box is not None for box in boxes.values()):
            title = in_words({k: int(v) for k, v in place.items()}, sheet.here)
            groups.append(Group(title or sheet.panel.title, boxes))
    return groups


def _draw(sheet: Sheet, preset: str, kind: Any, groups: list[Group], limits: tuple[float, float]) -> Any:
    text = f"Components of mean vectors, {sheet.study.id}, {sheet.panel.title}, {kind}, {preset}."
    return box_rows(sheet.names(str(kind), preset), groups, "component of the mean over draws", text, limits)


def _box(own: "DataFrame") -> list[float] | None:
    """The levels of a box; several tables of quantiles, of training seeds, are averaged."""
    if own.empty:
        return None
    by = own.groupby("level").value.mean()
    return [float(by.iloc[abs(by.index.to_numpy() - level).argmin()]) for level in LEVELS]
