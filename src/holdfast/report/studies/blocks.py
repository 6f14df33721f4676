"""Blocks: the figures of every study, each panel as published beside corrected, what moves them, and their source."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from holdfast.report.studies import facts
from holdfast.report.studies.clean_accuracy import clean_accuracy
from holdfast.report.studies.draws import Here, draws_here
from holdfast.report.studies.names import BASE, data_title, legend
from holdfast.report.studies.pictures import Row, Sheet, picture_of, table
from holdfast.report.studies.pictures.table import Means
from holdfast.report.studies.sliders import Drawn, Sliders, sliders_of
from holdfast.studies.reproduce.claim import Claim, Evidence
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import Panel, Study

if TYPE_CHECKING:
    from pandas import DataFrame

KINDS = {"csv.gz": "CSV", "csv": "CSV", "parquet": "Parquet"}  # endings of tables


@dataclass(frozen=True, eq=False)
class PanelBlock:
    """One panel: its drawings, or why there are none.

    Attributes:
        panel: which.
        on: data and network that were used.
        rows: drawings.
        missing: preset -> why there is nothing, or what failed.
        means: the numbers at the figure's own setting.
        here: number of draws in the paper -> here.
        clean: a sentence for each preset on the accuracy before any attack.
    """

    panel: Panel
    on: str
    rows: list[Row]
    missing: Mapping[str, str]
    means: list[Means]
    here: Here
    clean: list[str]


@dataclass(frozen=True, eq=False)
class Block:
    """One study."""

    study: Study
    sliders: Sliders
    panels: list[PanelBlock]
    caption: str
    treatments: list[str]
    claims: list[Claim]
    files: list[tuple[str, list[tuple[str, str]]]]
    command: str
    time: str
    of_files: str = "Image by image"

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return self.study.id.lower()

    @property
    def drawn(self) -> Iterator[Drawn]:
        """All its drawings."""
        return (d for panel in self.panels for row in panel.rows for d in row.drawn.values())

    @cached_property
    def data(self) -> dict[str, Any]:
        """What its sliders' script reads."""
        return {"sizes": [len(s.values) for s in self.sliders.sliders], "plots": [d.data for d in self.drawn]}

    @property
    def legend(self) -> list[dict[str, str]]:
        """Entries of the legend."""
        return legend(self.treatments)


_DRAWN: "WeakKeyDictionary[Reproduction, list[tuple[Sliders, list[PanelBlock]]]]" = WeakKeyDictionary()


def blocks(found: Reproduction, claims: Iterable[Claim], folder: Path | None, *, jobs: int = 1) -> list[Block]:
    """Every study of a run. What was drawn once for a run is not drawn again.

    Args:
        found: the run.
        claims: that may rest on it.
        folder: where its tables are, for links to those that are there.
        jobs: processes that draw.
    """
    claims = list(claims)
    if found not in _DRAWN:
        _DRAWN[found] = list(_drawn(found, claims, jobs))
    drawn = zip(found.studies, _DRAWN[found], strict=True)
    return [_block(found, study, sliders, panels, claims, folder) for study, (sliders, panels) in drawn]


def _drawn(found: Reproduction, claims: Sequence[Claim], jobs: int) -> Iterator[tuple[Sliders, list[PanelBlock]]]:
    """Sliders and panels of every study; each process is given the tables of one study at a time."""
    from joblib import Parallel, delayed

    def alone(study: Study) -> Reproduction:
        own = {k: v for k, v in found.tables.items() if k[0] == study.id}
        return replace(found, studies=(study,), parts=(), tables=own, judgements=(), times={}, kept=None)

    evidence = {
        s.id: [one for c in claims for e in c.evidence if e.study == s.id for one in e.each()] for s in found.studies
    }
    yield from Parallel(n_jobs=jobs)(delayed(_panels)(alone(s), evidence[s.id]) for s in found.studies)


def _panels(found: Reproduction, evidence: list[Evidence]) -> tuple[Sliders, list[PanelBlock]]:
    (study,) = found.studies
    tables = [t for named in found.tables.values() for t in named.values()]
    here = _of_all([draws_here(study, panel, found.scale) for panel in study.panels], facts.settled(found).scale.draws)
    sliders = sliders_of(study, tables, here, picture_of(study).FIXED)
    return sliders, [_panel(found, study, panel, sliders, evidence) for panel in study.panels]


def _of_all(panels: Sequence[Here], otherwise: Here) -> Here:
    """What all panels of a study share; where they differ, the scale's numbers."""
    return panels[0] if all(panel == panels[0] for panel in panels) else otherwise


class NotDrawn(UserWarning):
    """A figure of the page could not be drawn; the page says so in its place."""


def _block(
    found: Reproduction, study: Study, sliders: Sliders, panels: list[PanelBlock], claims: list[Claim],
    folder: Path | None,
) -> Block:  # fmt: skip
    picture = picture_of(study)
    tables = [t for k, named in found.tables.items() if k[0] == study.id for t in named.values()]
    treatments = dict.fromkeys(t for own in tables if "treatment" in own.columns for t in own.treatment.unique())
    drawn, judged = any(p.rows for p in panels), {j.claim.id for j in found.judgements}
    presets = "both" if len(found.presets) > 1 else found.presets[0]
    return Block(
        study=study,
        sliders=sliders if drawn else Sliders(),
        panels=panels,
        caption=picture.CAPTION if drawn else table.CAPTION,
        treatments=[t for t in treatments if picture.LEGEND == "all" or t != BASE] if drawn and picture.LEGEND else [],
        claims=[c for c in claims if c.id in judged and any(e.study == study.id for e in c.evidence)],
        files=_files(study, folder),
        command=facts.command(found, [study], presets),
        time=facts.duration(found.times[study.id]) if study.id in found.times else "",
    )


def _panel(
    found: Reproduction, study: Study, panel: Panel, sliders: Sliders, evidence: Iterable[Evidence]
) -> PanelBlock:
    tables: dict[str, Mapping[str, DataFrame]] = {}
    missing = {}
    for preset in found.presets:
        name = (study.id, panel.title, preset)
        if name in found.missing:
            missing[preset] = found.missing[name]
        if any(not t.empty for t in found.tables.get(name, {}).values()):
            tables[preset] = found.tables[name]
        elif name not in found.missing:
            missing[preset] = "nothing was computed"
    own = tuple(e for e in evidence if e.panel == panel.title)
    sheet = Sheet(study, panel, tables, sliders, own, draws_here(study, panel, found.scale))
    here = facts.settled(found).data(panel.data)
    stands = f" in place of {data_title(panel.data)}" if here != panel.data else ""
    picture = picture_of(study)
    try:
        rows = picture.draw(sheet)
    except Exception as error:  # a figure that cannot be drawn must not cost the page of a night's run
        reason = f"it could not be drawn ({type(error).__name__}: {error}); its numbers are in the tables"
        warnings.warn(f"{study.id}, {panel.title}: {reason}.", NotDrawn, stacklevel=2)
        rows, missing = [], missing | dict.fromkeys(tables, reason)
    numbers = table.means(sheet, **(sliders.own if sliders.sliders else {})) if picture.IN_NUMBERS else []
    on = f"{data_title(here)}{stands}, {panel.network}"
    return PanelBlock(panel, on, rows, missing, numbers, sheet.here, clean_accuracy(tables))


def _files(study: Study, folder: Path | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """(table, [(kind, link), ...]) of every table of a study that lies in `folder/tables`."""
    found: dict[str, list[tuple[str, str]]] = {}
    for file in sorted((folder / "tables").glob(f"{study.id}-*")) if folder else ():
        name, _, ending = file.name.partition(".")
        if ending in KINDS:
            words = name.removeprefix(f"{study.id}-").replace("_", " ").replace("-", ", ")
            found.setdefault(words, []).append((KINDS[ending], f"tables/{file.name}"))
    return list(found.items())
