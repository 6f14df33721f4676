"""Posteriors: what the draws that a run's claims rest on say of themselves, a row for each ensemble that was fitted."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.report.studies.names import data_title, treatment_title
from holdfast.report.tables import Column, Table
from holdfast.report.wording import DASH, number, percent, plain
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import Panel, Study, studies

if TYPE_CHECKING:
    from pandas import DataFrame

WORST = "log_probability_rhat_90"  # of several fits that differ in seed or width, the one where it is largest is shown
COLUMNS = (
    Column("mixing", words=True),
    Column("draws"),
    Column("differ"),
    Column("chains"),
    Column("accepted"),
    Column("R-hat", "log probability"),
    Column("ESS", "log probability"),
    Column("R-hat", "relevance"),
    Column("ESS", "relevance"),
    Column("k-LRP", "mean map"),
    Column("MCSE", "mean map"),
    Column("accuracy"),
)


def posteriors(found: Reproduction) -> Table | None:
    """The table; None where nothing was diagnosed. An ensemble that several figures share is there once."""
    groups = [(title, [_cells(row)]) for title, row in dict(rows_of(found)).items()]
    return Table("The draws that the corrected numbers rest on", "ensemble", COLUMNS, groups) if groups else None


def remarks(found: Reproduction) -> list[tuple[str, str]]:
    """(ensemble, posterior over prior deviations and what its fit warned of), of those that have them."""
    said = []
    for title, row in dict(rows_of(found)).items():
        ratios = row["deviation_over_prior"]
        parts = [f"Posterior over prior standard deviation: {ratios}."] if ratios else []
        said.append((title, " ".join([*parts, *([row["said"]] if row["said"] else [])])))
    return [(title, text) for title, text in said if text]


def rows_of(found: Reproduction) -> Iterator[tuple[str, dict[str, Any]]]:
    """(title, row) of every diagnosed ensemble, seed by seed: of this run, and of those that were kept."""
    kept = found.kept
    earlier = _kept(kept.folder) if kept else ()
    own = [(panel, table) for study, panel, table in earlier if (study.id, panel.title) in kept.panels]
    return _named([*own, *_own(found)], found.scale)


def kept_rows(folder: Path, scale: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(title, row) of every diagnosed ensemble of the kept tables of a scale."""
    return _named(((panel, table) for _, panel, table in _kept(folder)), scale)


def _named(tables: "Iterable[tuple[Panel, DataFrame]]", scale: str) -> Iterator[tuple[str, dict[str, Any]]]:
    known = Settled("corrected", scale)
    fits: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}  # title -> what tells its fits apart -> row
    for panel, table in tables:
        labels = [c for c in table.columns[: table.columns.get_loc("method")] if c not in ("panel", "preset")]
        for row in table.to_dict("records"):
            name = (treatment_title(row["treatment"]), data_title(known.data(panel.data)))
            title = ", ".join((*name, str(row.get("network", panel.network))))
            fits.setdefault(title, {})[tuple(row[c] for c in labels)] = row
    for title, rows in fits.items():
        worst = max(rows.values(), key=lambda row: -1 if math.isnan(row[WORST]) else row[WORST])
        yield title if len(rows) == 1 else f"{title} (the one of {plain(len(rows))} that mixed worst)", worst


def _own(found: Reproduction) -> "Iterator[tuple[Panel, DataFrame]]":
    for study in found.studies:
        for panel in study.panels:
            table = found.tables.get((study.id, panel.title, "corrected"), {}).get("posteriors")
            if table is not None:
                yield panel, table


def _kept(folder: Path) -> "Iterator[tuple[Study, Panel, DataFrame]]":
    import pandas

    for file in sorted(folder.glob("tables/*-posteriors.csv")):
        study = studies().get(file.stem.removesuffix("-posteriors"))
        table = pandas.read_csv(file)
        words = [c for c in ("mixing", "deviation_over_prior", "said") if c in table]
        table[words] = table[words].astype(object).fillna("")
        for panel in study.panels if study else ():
            yield study, panel, table[(table.panel == panel.title) & (table.preset == "corrected")]


def _cells(row: dict[str, Any]) -> list[str]:
    count = lambda value: DASH if math.isnan(value) else plain(int(value))
    shown = [
        row["mixing"],
        count(row["kept"]),
        count(row["distinct"]),
        count(row["chains"]),
        percent(row["acceptance"], 0),
    ]
    for family in ("log_probability", "relevance"):
        shown += [number(row[f"{family}_rhat_90"]), number(row[f"{family}_ess_50"], 0)]
    return [*shown, number(row["robustness"], 3), number(row["robustness_mcse"], 3), percent(row["accuracy"])]
