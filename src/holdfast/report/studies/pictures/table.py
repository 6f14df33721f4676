"""table: means over images as numbers, as published beside corrected; also for pictures that nobody knows."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.report.studies.columns import column_title
from holdfast.report.studies.names import value_alone
from holdfast.report.studies.pictures import Row, Sheet
from holdfast.report.studies.rows import chosen
from holdfast.report.studies.summary import labels_of, summary, values_of
from holdfast.report.wording import short

if TYPE_CHECKING:
    from pandas import DataFrame

CAPTION = "Means over images and training seeds."
LEGEND = "all"
IN_NUMBERS = True
FIXED = ("draws", "k", "epsilon")
MOST = 8  # columns of numbers
LONGEST = 100  # rows on the page; the files have all


@dataclass(frozen=True)
class Means:
    """A table of text: titles of the columns, and (words, numbers) rows."""

    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


def draw(sheet: Sheet) -> list[Row]:
    """Nothing: numbers are shown as they are."""
    return []


def means(sheet: Sheet, **only: Any) -> list[Means]:
    """A table for each of the panel's, with the presets side by side; `only` some labels."""
    names = dict.fromkeys(name for tables in sheet.tables.values() for name in tables)
    return [m for name in names if (m := _means(sheet, name, only))]


def _means(sheet: Sheet, name: str, only: dict[str, Any]) -> Means | None:
    tables = {p: chosen(sheet.table(p, name), only) for p in sheet.tables}
    tables = {p: t for p, t in tables.items() if not t.empty}
    if not tables:
        return None
    any_table = next(iter(tables.values()))
    labels = [c for c in labels_of(any_table) if c != "panel" and _varies(tables, c)]
    values = [v for v in values_of(any_table) if any(v in t.columns for t in tables.values())][:MOST]
    found: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for preset, table in tables.items():
        own = [c for c in labels if c in table.columns]
        for row in summary(table[own + [v for v in values if v in table.columns]]).to_dict("records"):
            words = tuple(value_alone(c, row[c], sheet.here) if c in row else "" for c in labels)
            found.setdefault(words, {}).update({(preset, v): short(float(row[v])) for v in values if v in row})
    columns = [(p, v) for v in values for p in tables]
    titles = tuple(f"{column_title(v, name)}{f', {p}' if len(tables) > 1 else ''}" for p, v in columns)
    rows = tuple((words, tuple(cells.get(c, "–") for c in columns)) for words, cells in list(found.items())[:LONGEST])
    return Means(name, tuple(c.replace("_", " ") for c in labels), titles, rows)


def _varies(tables: "dict[str, DataFrame]", column: str) -> bool:
    values = {v for t in tables.values() if column in t.columns for v in t[column].unique()}
    return len(values) > 1 or column == "treatment"
