"""Pictures: how the figures of studies are drawn, one kind, one file.

Each file has

    CAPTION             how to read it
    FIXED               labels that it shows itself, so that no slider moves them
    LEGEND              "all" treatments, the "others" than the deterministic one, or "" for no legend
    IN_NUMBERS          whether means of its tables say anything
    draw(sheet)         rows of drawings, each as published and as corrected

A study names its picture; one that has no file is shown as a table of means.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from holdfast.report.studies.sliders import Drawn, Sliders
from holdfast.studies.reproduce.claim import Evidence
from holdfast.studies.reproduce.study import Panel, Study

if TYPE_CHECKING:
    from pandas import DataFrame

FALLBACK = "table"


@dataclass(frozen=True)
class Sheet:
    """What there is to draw of one panel of a study.

    Attributes:
        study, panel: which.
        tables: preset -> name -> table.
        sliders: of the study.
        evidence: of claims, about this panel, with the paper's numbers.
        here: number of draws in the paper -> here.
    """

    study: Study
    panel: Panel
    tables: "Mapping[str, Mapping[str, DataFrame]]"
    sliders: Sliders
    evidence: tuple[Evidence, ...] = ()
    here: Mapping[int, int] = field(default_factory=dict)

    def table(self, preset: str, name: str) -> "DataFrame":
        """A table; an empty one where it is not there."""
        import pandas

        return self.tables.get(preset, {}).get(name, pandas.DataFrame())

    def names(self, *more: str) -> tuple[str, ...]:
        """Words for the name of a drawing: study, panel, and more."""
        return (*names_of(self.study.id, self.panel.title), *more)

    def paper(self, quantity: str, **labels: Any) -> float | None:
        """The paper's number for these labels, where a claim has one."""
        for e in self.evidence:
            where = {k: v for k, v in e.where.items() if k in labels}
            known = all(labels[k] == v for k, v in where.items())
            if e.quantity == quantity and isinstance(e.paper, float | int) and known and "treatment" in where:
                return float(e.paper)
        return None


@dataclass(frozen=True)
class Row:
    """Drawings that belong side by side.

    Attributes:
        heading: what is different from the other rows; empty for a single one.
        drawn: preset -> drawing.
    """

    heading: str
    drawn: Mapping[str, Drawn]


def names_of(study: str, panel: str) -> tuple[str, str]:
    """How the name of every drawing of a panel begins.

    >>> names_of("BE-F4", "(a) FGSM, variational")
    ('be-f4', 'a-fgsm-variational')
    """
    return study.lower(), re.sub("[^a-z0-9]+", "-", panel.lower()).strip("-") or "panel"


def picture_of(study: Study) -> ModuleType:
    """The file that draws a study."""
    known = {f.stem for f in Path(__file__).parent.glob("[a-z]*.py")}
    return import_module(f"{__name__}.{study.picture if study.picture in known else FALLBACK}")
