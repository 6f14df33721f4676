"""Store: the results of finished cells, as stages of a run folder that are named by their cells' keys.

    cells/<kind>/<key>.<ending>        the result, as the kind's codec writes it
    cells/<kind>/<key>.record.json     its record, see `studies.run_folder`

Several processes and several machines may share the folder. What a record says but a file is not, is computed again.
Where the folder is a bucket, `path` is this machine's copy of it, see `bucket.py`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.studies.engine.bucket import Bucket, copy_of, is_address
from holdfast.studies.engine.cell import Cell
from holdfast.studies.engine.kind import Context, kind_of
from holdfast.studies.functions import call
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
        bucket: the address of the bucket that the folder is a copy of, or None.
    """

    path: Path
    context: Context = field(default_factory=Context)
    bucket: str | None = None

    @classmethod
    def at(cls, run: str | Path, context: Context | None = None) -> "Store":
        """The store at a path, or at an address such as "s3://bucket/run".

        >>> Store.at("runs/demo").path.is_absolute(), Store.at("s3://lab/demo").bucket
        (True, 's3://lab/demo')
        """
        context = context or Context()
        if is_address(run):
            run = run.rstrip("/")
            return cls(copy_of(run), context, run)
        return cls(Path(run).absolute(), context)

    def has(self, cell: Cell) -> bool:
        """Whether the cell is finished; its content is checked when it is read."""
        name = f"cells/{cell.name}"
        if self.remote is not None:  # what lies in the copy alone is not there for others
            return self.remote.has(name)
        return self._file(cell).is_file() and record_file(self.path, name).is_file()

    def record(self, cell: Cell) -> Mapping[str, Any]:
        """What is on record of a finished cell: its key, file, checksum, seconds, and how many times it was begun."""
        name = f"cells/{cell.name}"
        file = record_file(self.path, name)
        if self.remote is not None:
            self.remote.fetch(file)
        return read_record(file, name)

    def read(self, cell: Cell) -> Any:
        """The result of a finished cell.

        Raises:
            NotFinished: the cell is not finished, or its file was not what its record says; the record is then gone.
        """
        kind, name = kind_of(cell.kind), f"cells/{cell.name}"
        record = record_file(self.path, name)
        if self.remote is not None and self.remote.has(name):
            for file in (self._file(cell), record):
                self.remote.fetch(file)
        found = self.folder.finished(name, cell.described, kind.codec, cell.rooms)
        if found is None:
            for file in (record, self._file(cell)):
                file.unlink(missing_ok=True)
            if self.remote is not None:
                self.remote.forget(name)
            raise NotFinished(f"{self.path / name} is not there, or damaged; execute the study again.")
        return found.value

    def compute(self, cell: Cell) -> None:
        """Compute a cell whose needs are finished, if it is not.

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
        if self.has(cell):
            return
        kind, name = kind_of(cell.kind), f"cells/{cell.name}"
        inputs = {role: self.read(need) for role, need in cell.needs.items()}
        file = self.path / name
        scratch = file.with_name(f".{file.name}.scratch")
        context = replace(self.context.here(), scratch=scratch)
        if "provide" in cell.settings:
            call(cell.settings["provide"], context.data_dir)
        self.folder.stage(
            name, cell.described, lambda: kind.compute(cell.settings, inputs, context), kind.codec, cell.rooms,
            wait=False,
        )  # fmt: skip
        shutil.rmtree(scratch, ignore_errors=True)
        if self.remote is not None:
            self.remote.put(self._file(cell), record_file(self.path, name))

    def publish(self) -> None:
        """Put what was made of the cells into the bucket too: the manifest, tables, figures, the page."""
        if self.remote is not None:
            files = (f for f in sorted(self.path.rglob("*")) if f.is_file() and not f.name.startswith("."))
            self.remote.put(*(f for f in files if f.relative_to(self.path).parts[0] != "cells"))

    @cached_property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(self.path, patience=self.context.patience)

    @cached_property
    def remote(self) -> Bucket | None:
        """The bucket."""
        return Bucket(self.bucket, self.path) if self.bucket else None

    def _file(self, cell: Cell) -> Path:
        return self.path / f"cells/{cell.name}{kind_of(cell.kind).codec.suffix}"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.bucket:
            return Store.at, (self.bucket, self.context)  # each machine has a copy of its own
        return Store, (self.path, self.context)
