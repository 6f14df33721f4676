"""Run folder: every finished stage of a study on disk, under the settings that made it.

A stage has a name, the settings it depends on (the keys of earlier stages among them) and a function that computes it.
Its *key* is the sha256 of all that, of the source code of the rooms it uses and of the versions of the numerical
libraries. A stage whose key and checksum are on record is read back; one that is missing, changed or damaged is
computed anew. Every write is atomic: a file is either whole or absent, and a record names it only once it is there.

    runs/demo/manifest.json                     settings, versions, seeds, see `manifest.py`
    runs/demo/train/mean_field.safetensors      the value of a stage; scores/....parquet, report.html, ...
    runs/demo/train/mean_field.record.json      its record: key, file, sha256, seconds, how often it was begun, settings
    runs/demo/train/.mean_field.lock            held by the process that computes it

Any number of processes may work in one folder, on one machine or on several that share the disk. Each stage is locked
while it is computed: who comes second waits, and reads what the first one wrote. The lock is the operating system's: it
ends with the process, however that ends. While it holds a lock a process touches the lock's file every few seconds; one
that has not done so for long, because it is frozen or its machine is cut off, is not waited for any more. Should it go
on later, it writes what is there already.
"""

import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from holdfast.studies.atomic import PARTIAL, atomic, file_checksum, write_json
from holdfast.studies.codecs import Codec
from holdfast.studies.manifest import (
    MANIFEST,
    SCHEMA,
    LaterSchema,
    check_stage_name,
    read_manifest,
    read_record,
    record_file,
)
from holdfast.studies.stage_key import stage_key, versions

Value = TypeVar("Value")
PATIENCE = 300.0  # seconds


class DamagedArtifact(UserWarning):
    """A file of a run is not what its record says; it is computed again."""


class Frozen(UserWarning):
    """A process holds a lock and shows no sign of life; it is not waited for."""


class Waiting(UserWarning):
    """Another process computes the same stage; this one waits for it."""


@dataclass(frozen=True)
class Artifact(Generic[Value]):
    """The result of a stage, and the key that names everything it depends on."""

    value: Value
    key: str


class RunFolder:
    """A folder that keeps the stages of one run.

    Args:
        path: the folder; made if need be.
        report: called with a stage's name and its seconds when it ends, or None when it was reused.
        patience: seconds without a sign of life after which a process that holds a lock is not waited for.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the folder is of a later version of holdfast.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        report: Callable[[str, float | None], None] | None = None,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self.path, self.patience = Path(path), patience
        self.report = report or (lambda stage, seconds: None)
        self.reused: list[str] = []
        self._records: dict[str, Mapping[str, Any]] = {}
        self._check_writable()
        self._facts = self._read_facts()
        self._older = self._facts.pop("stages")

    def stage(
        self,
        name: str,
        settings: Mapping[str, Any],
        compute: Callable[[], Value],
        codec: Codec[Value],
        rooms: tuple[str, ...] = (),
        *,
        wait: bool = True,
    ) -> Artifact[Value]:
        """Read a finished stage back, or compute it and keep it.

        Args:
            name: path of the stage's file below the folder, without its ending ("train/mean_field").
            settings: everything the result depends on, as JSON; keys of earlier artifacts among them.
            compute: makes the value.
            codec: how the value is written and read.
            rooms: folders of holdfast whose code the stage runs; a change of that code makes a new key.
            wait: for another process that computes the same stage.

        Raises:
            BlockingIOError: another process computes it, and `wait` is false.
        """
        check_stage_name(name)
        key = stage_key(name, settings, rooms)
        found = self._finished(name, key, codec)
        if found is None:
            with self.locked(name, wait=wait):
                found = self._finished(name, key, codec, warn=True)  # by the process that this one waited for
                if found is None:
                    return self._computed(name, key, settings, compute, codec)
        self.reused.append(name)
        self.report(name, None)
        return found

    def finished(
        self, name: str, settings: Mapping[str, Any], codec: Codec[Value], rooms: tuple[str, ...] = ()
    ) -> Artifact[Value] | None:
        """Read a stage back if it is finished and whole; arguments as in `stage`."""
        check_stage_name(name)
        return self._finished(name, stage_key(name, settings, rooms), codec)

    def describe(self, **facts: Any) -> None:
        """Put facts (settings, seeds, checksums, the command) into the manifest."""
        with self.locked("manifest"):
            self._facts |= facts
            older = {"stages": self._older} if self._older else {}
            write_json(self.path / MANIFEST, self._facts | older | {"schema": SCHEMA})

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The facts, and under "stages" the records of the stages that were computed or reused here."""
        return self._facts | {"stages": dict(self._records)}

    @contextmanager
    def locked(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lock of a stage.

        Raises:
            BlockingIOError: another process holds it, and `wait` is false.
        """
        from filelock import FileLock, Timeout

        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file.with_name(f".{file.name}.lock"))
        try:
            lock.acquire(timeout=0.2 if wait else 0)
        except Timeout:
            if self._is_frozen(lock.lock_file):
                warnings.warn(f"the process that computes {name} is frozen; not waiting for it.", Frozen, stacklevel=4)
                yield
                return
            if not wait:
                raise BlockingIOError(f"another process is computing {name} in {self.path}.") from None
            warnings.warn(f"another process is computing {name} in {self.path}; waiting for it.", Waiting, stacklevel=4)
            while not lock.is_locked:
                with suppress(Timeout):
                    lock.acquire(timeout=self.patience / 10)
                if not lock.is_locked and self._is_frozen(lock.lock_file):
                    yield
                    return
        with _signs_of_life(Path(lock.lock_file), self.patience / 10):
            try:
                yield
            finally:
                lock.release()

    def _is_frozen(self, lock: str) -> bool:
        """Whether the lock's file is old, and stays so for a moment: who has just taken it touches it at once."""
        age = lambda: time.time() - os.stat(lock).st_mtime
        try:
            if age() <= self.patience:
                return False
            time.sleep(min(1.0, self.patience / 10))
            return age() > self.patience
        except FileNotFoundError:
            return False

    def _finished(self, name: str, key: str, codec: Codec[Value], *, warn: bool = False) -> Artifact[Value] | None:
        """The stage as it lies there, if it is the one wanted, and whole."""
        file, record = self._file(name, codec), self._record(name)
        if record is None or record["key"] != key:
            return None
        if not file.is_file():
            fault = "missing"
        elif file_checksum(file) != record["sha256"]:
            fault = "damaged (its checksum differs from the manifest)"
        else:
            try:
                value = codec.read(file)
            except Exception as error:  # whatever a reader raises, the stage can be computed again
                fault = f"not readable ({error})"
            else:
                if self._record(name) == record:  # else a process with other settings has just replaced it
                    self._records[name] = record
                    return Artifact(value, key)
                fault = "being replaced by another process"
        if warn:
            warnings.warn(f"{file} is {fault}; stage {name} is computed again.", DamagedArtifact, stacklevel=3)
        return None

    def _computed(
        self, name: str, key: str, settings: Mapping[str, Any], compute: Callable[[], Value], codec: Codec[Value]
    ) -> Artifact[Value]:
        file = self._file(name, codec)
        with _begun(self.path / name, key) as times:
            start = time.perf_counter()
            value = compute()
            seconds = time.perf_counter() - start
            with atomic(file) as partial:
                codec.write(partial, value)
                checksum = file_checksum(partial)
            self._keep(name, key, settings, file, checksum, seconds, times)
        self.report(name, seconds)
        return Artifact(value, key)

    def _keep(
        self, name: str, key: str, settings: Mapping[str, Any], file: Path, checksum: str, seconds: float, times: int
    ) -> None:
        record = {
            "key": key,
            "file": str(file.relative_to(self.path)),
            "sha256": checksum,
            "seconds": round(seconds, 3),
            "begun": times,
            "settings": settings,
        }
        if not (self.path / MANIFEST).exists():
            self.describe()
        write_json(record_file(self.path, name), record)
        self._records[name] = record

    def _file(self, name: str, codec: Codec[Value]) -> Path:
        return self.path / f"{name}{codec.suffix}"

    def _record(self, name: str) -> Mapping[str, Any] | None:
        """What is on record of a stage now; records that cannot be read count as none."""
        try:
            return read_record(record_file(self.path, name), name)
        except (FileNotFoundError, NotADirectoryError):
            return self._older.get(name)
        except ValueError as error:
            warnings.warn(f"{error.__cause__} It is computed again.", DamagedArtifact, stacklevel=4)
            return None

    def _check_writable(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise OSError(
                f"the run folder {self.path} cannot be written ({error.strerror}); choose another one with --run."
            ) from error

    def _read_facts(self) -> dict[str, Any]:
        """The manifest with the records that lie in it, as in the first schema, and nothing of `stages/`."""
        fresh = {"schema": SCHEMA, "versions": versions(), "stages": {}}
        try:
            return read_manifest(self.path, records=False) | {"versions": versions()}
        except FileNotFoundError:
            return fresh
        except LaterSchema:
            raise
        except ValueError as error:
            warnings.warn(f"{error} The run starts afresh.", DamagedArtifact, stacklevel=3)
            return fresh


@contextmanager
def _signs_of_life(file: Path, every: float) -> Iterator[None]:
    """Touch a file now and then."""
    done = threading.Event()

    def touch() -> None:
        while not done.is_set():
            with suppress(OSError):
                os.utime(file)
            done.wait(every)

    thread = threading.Thread(target=touch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def _begun(stage: Path, key: str) -> Iterator[int]:
    """Note that a stage is begun, and yield how many times it was; a process that is killed leaves its note behind."""
    note = stage.with_name(f".{stage.name}.begun{PARTIAL}")
    try:
        before, times = note.read_text(encoding="ascii").split()
        times = int(times) + 1 if before == key else 1
    except (OSError, ValueError):
        times = 1
    try:
        note.write_text(f"{key} {times}", encoding="ascii")
        yield times
    finally:
        note.unlink(missing_ok=True)
