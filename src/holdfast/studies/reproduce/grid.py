"""Grid: one fit many times over, with some of its settings changed.

A grid says which settings take which values, by their paths in the settings of the cell of a fit:

    grid = { "network.width" = [32, 128], "train" = [1000, 5000], "fit.training.learning_rate" = [1e-3, 1e-2] }

The last part of a path is the name of the label.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from holdfast.studies.engine import Cell


def combinations(grid: Mapping[str, Sequence[Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Labels, and changes by path, of all combinations; one without labels for an empty grid.

    >>> list(combinations({"network.width": [8, 16]}))
    [({'width': 8}, {'network.width': 8}), ({'width': 16}, {'network.width': 16})]
    """
    for values in product(*grid.values()):
        changes = dict(zip(grid, values, strict=True))
        yield {path.split(".")[-1]: value for path, value in changes.items()}, changes


def changed(fit: Cell, changes: Mapping[str, Any]) -> Cell:
    """The cell of a fit with some settings changed.

    >>> cell = changed(Cell("fit", {"network": {"width": 8}, "seed": 0}), {"network.width": 16})
    >>> cell.settings
    {'network': {'width': 16}, 'seed': 0}
    """
    settings = dict(fit.settings)
    for path, value in changes.items():
        settings = _set(settings, path.split("."), value)
    return replace(fit, settings=settings)


def _set(table: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**table, first: _set(table.get(first, {}), rest, value) if rest else value}
