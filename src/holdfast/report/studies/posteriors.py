"""Posteriors: what the draws that a run's claims rest on say of themselves, a row for each ensemble that was fitted."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.diagnostics.mixing import LOCAL, MIXED, PARTLY
from holdfast.report.studies.names import data_title, treatment_title
from holdfast.report.studies.unmixed import FAMILIES, Fits, is_known
from holdfast.report.tables import Column, Table
from holdfast.report.wording import DASH, number, percent, plain
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import Panel, Study, studies

if TYPE_CHECKING:
    from pandas import DataFrame

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
    """The table; None where nothing was diagnosed. Of fits that differ in seed, width or data the worst has its row."""
    groups = [(_of_several(title, rows), [_cells(_worst(rows))]) for title, rows in fits_of(found).items()]
    return Table("The draws that the corrected numbers rest on", "ensemble", COLUMNS, groups) if groups else None


def remarks(found: Reproduction) -> list[tuple[str, str]]:
    """(ensemble, posterior over prior deviations and what its fit warned of), of those that have them."""
    said = []
    for title, rows in fits_of(found).items():
        row, warned = _worst(rows), sum(bool(row["said"]) for row in rows)
        parts = [f"Posterior over prior standard deviation: {row['deviation_over_prior']}."]
        parts = parts if row["deviation_over_prior"] else []
        parts += [f"{plain(warned)} of {plain(len(rows))} fits warned."] if warned and len(rows) > 1 else []
        said.append((_of_several(title, rows), " ".join([*parts, *([row["said"]] if row["said"] else [])])))
    return [(title, text) for title, text in said if text]


def fits_of(found: Reproduction) -> Fits:
    """The rows of every diagnosed kind of ensemble, by its title: of this run, and of those that were kept."""
    kept = found.kept
    earlier = _kept(kept.folder) if kept else ()
    own = [(panel, table) for study, panel, table in earlier if (study.id, panel.title) in kept.panels]
    return _named([*own, *_own(found)], found.scale)


def kept_fits(folder: Path, scale: str) -> Fits:
    """The same, of the kept tables of a scale."""
    return _named(((panel, table) for _, panel, table in _kept(folder)), scale)


def _named(tables: "Iterable[tuple[Panel, DataFrame]]", scale: str) -> Fits:
    known = Settled("corrected", scale)
    fits: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
    for panel, table in tables:
        for row in table.to_dict("records"):
            name = (treatment_title(row["treatment"]), data_title(known.data(panel.data)))
            title = ", ".join((*name, str(row.get("network", panel.network))))
            fits.setdefault(title, {})[_content(row)] = row  # what several figures share is there once
    return {title: list(rows.values()) for title, rows in fits.items()}


def _content(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a fit from others: its numbers, with fewer digits than are kept."""
    names = ("kept", "distinct", "accuracy", "robustness", *(f"{f}_rhat_90" for f in FAMILIES))
    return tuple(f"{row[name]:.3g}" for name in names)


def _worst(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By the verdict, then by R-hat; of chains that have none it is not known how bad they are."""
    order = (LOCAL, PARTLY, MIXED)
    place = lambda row: next((i for i, word in enumerate(order) if str(row["mixing"]).startswith(word)), len(order))
    limit = lambda row: max(math.inf if math.isnan(row[f"{f}_rhat_90"]) else row[f"{f}_rhat_90"] for f in FAMILIES)
    return min(rows, key=lambda row: (place(row), -limit(row)))


def _of_several(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    which = "the one that mixed worst" if is_known(rows[0].get("chains")) else "one"
    return title if len(rows) == 1 else f"{title} ({which} of {plain(len(rows))})"


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
