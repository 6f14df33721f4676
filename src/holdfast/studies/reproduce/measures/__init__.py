"""Measures: which cells a kind of study is made of, one kind, one file.

Each file has `tables(study, panel, settled) -> {name: [(labels, cell), ...]}`: the cells whose results, one under the
other with their labels as columns, are the tables of that name.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import Panel, Study

Labelled = tuple[Mapping[str, Any], Cell]


class NotReleased(ValueError):
    """What a preset cannot do, and why; the study says so instead of a figure."""


def tables_of(study: Study, panel: Panel, settled: Settled) -> Mapping[str, list[Labelled]]:
    """The cells of one panel.

    Raises:
        NotReleased: the preset has nothing for it.
        ValueError: an unknown measure, or a name without a meaning.
    """
    known = sorted(f.stem for f in Path(__file__).parent.glob("[a-z]*.py"))
    if study.measure not in known:
        raise ValueError(f"reproduce: {study.id} has the measure {study.measure!r}; there are {', '.join(known)}.")
    labels = {"study": study.id, "measure": study.measure, "data": panel.data, "network": panel.network}
    if reason := settled.of("measure", **labels).get("missing"):
        raise NotReleased(reason)
    return import_module(f"{__name__}.{study.measure}").tables(study, panel, settled)
