"""Unlearnt: networks that are wrong on most images before anything attacks them, of which no number says anything.

A procedure as published may need the paper's sizes in order to train at all. What a smaller scale then computes "as
published" is of networks that the paper did not have.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.report.studies.clean_accuracy import PRESETS, with_clean_right
from holdfast.report.studies.names import treatment_title
from holdfast.report.wording import THIN, listing, number, the
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import studies

if TYPE_CHECKING:
    from pandas import DataFrame

TABLES = ("predictions", "accuracy")  # one row for each image, or means, of every treatment
FEW = 0.5  # of the clean images right, where one of ten classes is right by chance
Row = tuple[str, str, str, float]  # study, preset, treatment, share of the clean images that are right


def unlearnt(rows: Iterable[Row]) -> str:
    """Which networks have not learnt, and what that means; empty where all have.

    >>> unlearnt([("BE-F8", "published", "mean_field", 0.27), ("BE-F3", "published", "hmc", 0.9)])[:97]
    'Some networks have not learnt: as published, the mean-field posterior is right on 27\\u202f% of the cle'
    """
    found: dict[tuple[str, str], list[tuple[str, float]]] = {}
    for study, preset, treatment, right in rows:
        if right < FEW:
            found.setdefault((preset, treatment), []).append((study, right))
    said = [_of(*key, own) for key, own in found.items()]
    if not said:
        return ""
    return (
        f"Some networks have not learnt: {'; '.join(said)}. At these sizes the procedure does not train them: what "
        "is computed of them is counted, and says nothing of the paper's networks."
    )


def rows_of(found: Reproduction) -> Iterator[Row]:
    """The shares of this run, and of what an earlier one kept; none at the scale `smoke`, where nothing learns."""
    if found.scale == "smoke":
        return
    if found.kept:
        names = found.kept.panels
        yield from kept_rows(found.kept.folder, names)
    for (study, _, preset), tables in found.tables.items():
        for name in TABLES:
            if name in tables:
                yield from _shares(study, preset, tables[name])


def kept_rows(folder: Path, panels: Iterable[tuple[str, str]] | None = None) -> Iterator[Row]:
    """The shares in the kept tables of a scale: of all panels, or of some (study, panel)."""
    import pandas

    for file in sorted(file for name in TABLES for file in folder.glob(f"tables/*-{name}.csv")):
        study, table = file.stem.rpartition("-")[0], pandas.read_csv(file)
        for (panel, preset), own in table.groupby(["panel", "preset"], sort=False):
            if study in studies() and (panels is None or (study, panel) in panels):
                yield from _shares(study, preset, own)


def _shares(study: str, preset: str, table: "DataFrame") -> Iterator[Row]:
    from numpy import average

    table = with_clean_right(table)
    if not {"treatment", "clean_right"} <= set(table.columns):
        return
    known = table[table.clean_right.notna()]
    if "draws" in known.columns:  # all draws where there are several numbers
        known = known[known.draws.isna() | (known.draws == known.draws.max())]
    for treatment, own in known.groupby("treatment", sort=False):
        weights = own.rows if "rows" in own else None
        yield study, preset, treatment, float(average(own.clean_right.astype(float), weights=weights))


def _of(preset: str, treatment: str, own: list[tuple[str, float]]) -> str:
    low, high = (f"{number(100 * end(right for _, right in own), 0)}" for end in (min, max))
    span = low if low == high else f"{low} to {high}"
    places = listing(sorted({study for study, _ in own}))
    return (
        f"{PRESETS.get(preset, preset)}, {the(treatment_title(treatment))} is right on {span}{THIN}% of the clean "
        f"images in {places}"
    )
