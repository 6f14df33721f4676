"""Kind: how cells of one name are computed, written and read. Each is a file of `holdfast.studies.cells`."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from holdfast.machine import total_memory, working_memory
from holdfast.studies.codecs import Codec
from holdfast.studies.run_folder import PATIENCE
from holdfast.tiles import MEMORY


@dataclass(frozen=True)
class Context:
    """What a computation may use but its result does not depend on.

    Attributes:
        data_dir: folder with data files; None for $HOLDFAST_DATA and the user's cache.
        memory: budget in bytes for the work of one moment.
        share: where given, such as "60%": what all workers of a machine may fill together. The budget then follows from
            it on the machine that computes, which may be a smaller one than that which plans.
        scratch: folder in which a long computation may keep checkpoints; it goes when the cell is finished.
        patience: seconds without a sign of life after which the worker of a cell counts as frozen.
    """

    data_dir: Path | None = None
    memory: int = MEMORY
    share: str | None = None
    scratch: Path | None = None
    patience: float = PATIENCE

    def here(self) -> "Context":
        """The same with the budget that a worker has on this machine.

        Raises:
            ValueError: the share is too little to work with.
        """
        if self.share is None:
            return self
        return replace(self, memory=working_memory(self.share, _workers_here()), share=None)


def _workers_here() -> int:
    """How many workers share this machine: by the limit that Dask gives to each, else this one alone."""
    distributed = sys.modules.get("distributed")
    try:
        limit = distributed.get_worker().memory_manager.memory_limit if distributed else None
    except ValueError:  # not a worker of Dask's
        limit = None
    return max(1, round(total_memory() / limit)) if limit else 1


Compute = Callable[[Mapping[str, Any], Mapping[str, Any], Context], Any]  # (settings, results needed, context)


@dataclass(frozen=True)
class Kind:
    """A kind of cell.

    Attributes:
        compute: makes the result.
        codec: writes and reads it.
        rooms: folders of holdfast whose code it runs; a change there makes new cells.
    """

    compute: Compute
    codec: Codec
    rooms: tuple[str, ...]


@cache
def kind_of(name: str) -> Kind:
    """The kind of that name: `KIND` of the file `holdfast/studies/cells/<name>.py`.

    Raises:
        ValueError: there is no such file.
    """
    cells = import_module("holdfast.studies.cells")
    known = sorted(file.stem for file in Path(cells.__file__).parent.glob("[a-z]*.py"))
    if name not in known:
        raise ValueError(f"studies: no kind of cell is called {name!r}; there are {', '.join(known)}.")
    return import_module(f"holdfast.studies.cells.{name}").KIND
