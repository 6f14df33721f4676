"""Store: the results of finished cells, as stages of a run folder that are named by their cells' keys.

    cells/<kind>/<key>.<ending>        the result, as the kind's codec writes it
    cells/<kind>/<key>.record.json     its record, see `studies.run_folder`

Several processes and several machines may share the folder. What a record says but a file is not, is computed again.
"""

import shutil
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.studies.engine.cell import Cell
from holdfast.studies.engine.kind import Context, kind_of
from holdfast.studies.manifest import read_record, record_file
from holdfast.studies.run_folder import RunFolder


class NotFinished(LookupError):
    """A result that was to be read is not there, or is no longer what its record says."""


@dataclass(frozen=True)
class Store:
    """Results of cells in a folder.

    Attributes:
        path: the folder; made when it is first used.
        context: what computations may use.
    """

    path: Path
    context: Context = field(default_factory=Context)

    def has(self, cell: Cell) -> bool:
        """Whether the cell is finished; its content is checked when it is read."""
        name = f"cells/{cell.name}"
        file = self.path / f"{name}{kind_of(cell.kind).codec.suffix}"
        return file.is_file() and record_file(self.path, name).is_file()

    def seconds(self, cell: Cell) -> float:
        """What the computation of a finished cell took."""
        name = f"cells/{cell.name}"
        return read_record(record_file(self.path, name), name)["seconds"]

    def read(self, cell: Cell) -> Any:
        """The result of a finished cell.

        Raises:
            NotFinished: the cell is not finished, or its file was not what its record says; the record is then gone.
        """
        kind, name = kind_of(cell.kind), f"cells/{cell.name}"
        found = self.folder.finished(name, cell.described, kind.codec, cell.rooms)
        if found is None:
            record_file(self.path, name).unlink(missing_ok=True)
            raise NotFinished(f"{self.path / name} is not there, or damaged; execute the study again.")
        return found.value

    def compute(self, cell: Cell) -> float:
        """Compute a cell whose needs are finished, if it is not; seconds that it took.

        Raises:
            NotFinished: something that it needs turned out to be damaged and has to be computed again.
            BlockingIOError: another process is at it.
            ValueError: this process runs other code than the one that planned the cell.
        """
        if replace(cell).key != cell.key:
            raise ValueError(
                f"{cell.name} was planned by another version of holdfast or its libraries than the one that is to "
                "compute it; use the same installation everywhere, and start again."
            )
        kind, name = kind_of(cell.kind), f"cells/{cell.name}"
        inputs = {role: self.read(need) for role, need in cell.needs.items()}
        file = self.path / name
        scratch = file.with_name(f".{file.name}.scratch")
        context = replace(self.context, scratch=scratch)
        self.folder.stage(
            name, cell.described, lambda: kind.compute(cell.settings, inputs, context), kind.codec, cell.rooms,
            wait=False,
        )  # fmt: skip
        shutil.rmtree(scratch, ignore_errors=True)
        return self.seconds(cell)

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.path, patience=self.context.patience)

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self.path, self.context)
