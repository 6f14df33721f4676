"""Unlearnt: networks that are wrong on most images before anything attacks them, of which no number says anything.

A procedure as published may need the paper's sizes in order to train at all. What a smaller scale then computes "as
published" is of networks that the paper did not have.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.report.studies.clean_accuracy import PRESETS, VARIED, with_clean_right
from holdfast.report.studies.clean_accuracy import TABLES as COLUMNS
from holdfast.report.studies.names import treatment_title
from holdfast.report.wording import THIN, listing, number, the
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import studies

if TYPE_CHECKING:
    from pandas import DataFrame

TABLES = ("predictions", "accuracy", "norms", "networks")  # that say how often every treatment is right
UNTRAINED = "prior_draws"  # which nobody trained
FEW = 0.5  # of the clean images right, where one of ten classes is right by chance
Row = tuple[str, str, str, float]  # study, preset, treatment, share of the clean images that are right; one a network


def unlearnt(rows: Iterable[Row]) -> str:
    """Which networks have not learnt, and what that means; empty where all have.

    >>> unlearnt([("BE-F8", "published", "mean_field", 0.27), ("BE-F3", "published", "hmc", 0.9)])[:97]
    'Some networks have not learnt: as published, the mean-field posterior is right on 27.0\\u202f% of the c'
    """
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for study, preset, treatment, right in rows:
        found.setdefault((preset, treatment), {}).setdefault(study, []).append(right)
    said = [words for key, own in found.items() if (words := _of(*key, own))]
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
                yield from _shares(study, preset, name, tables[name])


def kept_rows(folder: Path, panels: Iterable[tuple[str, str]] | None = None) -> Iterator[Row]:
    """The shares in the kept tables of a scale: of all panels, or of some (study, panel)."""
    import pandas

    for file in sorted(file for name in TABLES for file in folder.glob(f"tables/*-{name}.csv")):
        (study, _, name), table = file.stem.rpartition("-"), pandas.read_csv(file)
        for (panel, preset), own in table.groupby(["panel", "preset"], sort=False):
            if study in studies() and (panels is None or (study, panel) in panels):
                yield from _shares(study, preset, name, own)


def _shares(study: str, preset: str, name: str, table: "DataFrame") -> Iterator[Row]:
    from numpy import average

    table, column = with_clean_right(table), COLUMNS[name]
    if not {"treatment", column} <= set(table.columns):
        return
    known = table[table[column].notna() & (table.treatment != UNTRAINED)]
    if "draws" in known.columns:  # all draws where there are several numbers
        known = known[known.draws.isna() | (known.draws == known.draws.max())]
    varied = [c for c in VARIED if c in known.columns and known[c].nunique() > 1]
    for (treatment, *_), own in known.groupby(["treatment", *varied], sort=False, dropna=False):
        weights = own.rows if "rows" in own else None
        yield study, preset, treatment, float(average(own[column].astype(float), weights=weights))


def _of(preset: str, treatment: str, shares: dict[str, list[float]]) -> str:
    """One treatment's words; empty where all of it has learnt."""
    few = {study: [right for right in own if right < FEW] for study, own in shares.items()}
    wrong = [right for own in few.values() for right in own]
    if not wrong:
        return ""
    low, high = (f"{number(100 * end(wrong), 1)}" for end in (min, max))
    span = low if low == high else f"{low} to {high}"
    places = [
        study if len(few[study]) == len(own) else f"{study} ({len(few[study])} of {len(own)} networks)"
        for study, own in sorted(shares.items())
        if few[study]
    ]
    who = the(treatment_title(treatment))
    return f"{PRESETS.get(preset, preset)}, {who} is right on {span}{THIN}% of the clean images in {listing(places)}"
