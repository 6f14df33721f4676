"""Cell: one computation of a study, named by everything that its result depends on.

    key = sha256(kind, settings, keys of the cells it needs, code of the rooms it runs, versions of the libraries)

The rooms are those of the kind and those of the functions that the settings name.

So two studies that want the same thing want the same cell, and a change of settings or code makes a new one.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from holdfast.studies.engine.kind import kind_of
from holdfast.studies.stage_key import stage_key

SHOWN = 16  # digits of a key that make the name of a file
SHARED = ("studies/draws", "studies/functions", "studies/images")  # what cells of all kinds run


@dataclass(frozen=True, eq=False)
class Cell:
    """One computation.

    Attributes:
        kind: the name of a file in `holdfast/studies/cells`.
        settings: everything that it depends on, as JSON. Under `provide` they may name a function, with its arguments,
            that is given the data folder before the cell is computed, such as `studies.imagenet.offer`.
        needs: the cells whose results it takes, by the part that each plays.

    >>> fit = Cell("fit", {"network": "fc2"})
    >>> Cell("fit", {"network": "fc2"}).key == fit.key != Cell("fit", {"network": "conv"}).key
    True
    >>> [c.kind for c in in_order([Cell("attack", {}, {"ensemble": fit}), fit])]
    ['fit', 'attack']
    """

    kind: str
    settings: Mapping[str, Any]
    needs: Mapping[str, "Cell"] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """The sha256, in hexadecimal."""
        return stage_key(self.kind, self.described, self.rooms)

    @property
    def rooms(self) -> tuple[str, ...]:
        """Whose code it runs: its kind's own file and rooms, and those of the functions that its settings name."""
        own = {f"studies/cells/{self.kind}", *SHARED, *kind_of(self.kind).rooms}
        named = re.findall(r'"holdfast\.([a-z_.]+)\.\w+"', json.dumps(self.settings))
        return tuple(sorted({*own, *(name.replace(".", "/") for name in named)}))

    @property
    def described(self) -> dict[str, Any]:
        """Settings and the names of what it needs: what its record says."""
        return {"settings": self.settings, "needs": {role: need.key for role, need in self.needs.items()}}

    @property
    def name(self) -> str:
        """Kind and first digits of the key: the name of its files in a store."""
        return f"{self.kind}/{self.key[:SHOWN]}"


def in_order(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Some cells and all that they need, each once, none before what it needs."""
    seen: set[str] = set()

    def walk(cell: Cell) -> Iterator[Cell]:
        if cell.key not in seen:
            seen.add(cell.key)
            for need in cell.needs.values():
                yield from walk(need)
            yield cell

    for cell in cells:
        yield from walk(cell)
