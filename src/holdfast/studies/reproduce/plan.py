"""Plan: the cells of several studies under several presets, and their results as tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.data.errors import DataError
from holdfast.studies.engine import Cell, Outcome, Store
from holdfast.studies.reproduce.measures import Labelled, NotReleased, tables_of
from holdfast.studies.reproduce.rules import PRESETS, Settled
from holdfast.studies.reproduce.study import Panel, Study

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Part:
    """One panel of a study under one preset.

    Attributes:
        study, panel, preset: which.
        tables: its cells by table, with the labels that become columns.
        missing: why there are none.
        not_here: whether that is for want of data that the user alone can have.
    """

    study: Study
    panel: Panel
    preset: str
    tables: Mapping[str, list[Labelled]] = field(default_factory=dict)
    missing: str = ""
    not_here: bool = False

    @property
    def cells(self) -> Iterator[Cell]:
        """All its cells."""
        return (cell for labelled in self.tables.values() for _, cell in labelled)


def plan(
    studies: Iterable[Study], scale: str, presets: Sequence[str] = PRESETS, *, data_dir: Path | None = None
) -> list[Part]:
    """Every panel of some studies under some presets.

    Args:
        studies, scale, presets: names, and what they are of.
        data_dir: where data are that the user alone has; None for $HOLDFAST_DATA and the user's cache.

    >>> from holdfast.studies.reproduce.study import study_of
    >>> [(p.preset, p.panel.title) for p in plan([study_of("BE-F3")], "smoke")][:2]
    [('published', 'MNIST'), ('published', 'Fashion-MNIST')]
    """
    settled = {preset: Settled(preset, scale, data_dir) for preset in presets}
    return [_part(study, panel, settled[preset]) for study in studies for preset in presets for panel in study.panels]


def finished(studies: Iterable[Study], store: Store, scale: str, presets: Sequence[str] = PRESETS) -> list[Study]:
    """The studies with those panels alone whose cells are all in the store, under every preset."""
    found = []
    for study in studies:
        parts = plan([study], scale, presets, data_dir=store.context.data_dir)
        open_ = {p.panel.title for p in parts for cell in p.cells if not store.has(cell)}
        if only := study.only([panel.title for panel in study.panels if panel.title not in open_]):
            found.append(only)
    return found


def _part(study: Study, panel: Panel, settled: Settled) -> Part:
    try:
        return Part(study, panel, settled.name, tables_of(study, panel, settled))
    except NotReleased as reason:
        return Part(study, panel, settled.name, missing=str(reason))
    except DataError as reason:
        return Part(study, panel, settled.name, missing=str(reason), not_here=True)


def tables(part: Part, store: Store, outcomes: Mapping[str, Outcome] | None = None) -> "dict[str, DataFrame]":
    """The tables of a part: the results of its cells one under the other, labels first.

    Args:
        part: of a plan that was executed.
        store: where the results are.
        outcomes: by key of the cell; cells that failed are left out.
    """
    import pandas

    found = {}
    for name, labelled in part.tables.items():
        frames = []
        for labels, cell in labelled:
            if outcomes is None or outcomes[cell.key].state != "failed":
                frame = store.read(cell)
                for place, (label, value) in enumerate(labels.items()):
                    frame.insert(place, label, value)
                frames.append(frame)
        found[name] = pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame()
    return found
