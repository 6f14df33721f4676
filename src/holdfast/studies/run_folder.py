"""Run folder: every finished stage of a study on disk, under the settings that made it.

A stage has a name, the settings it depends on (the keys of earlier stages among them) and a function that computes it.
Its *key* is the sha256 of all that, of the source code of the rooms it uses and of the versions of the numerical
libraries. A stage whose key and checksum are on record is read back; one that is missing, changed or damaged is
computed anew. Every write is atomic: a file is either whole or absent, and the manifest names it only once it is there.

    runs/demo/manifest.json           settings, versions, seeds, and for each stage: key, file, sha256, seconds
    runs/demo/train/mean_field.safetensors, scores/....parquet, report.html, ...
"""

import hashlib
import json
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

import holdfast
from holdfast.studies.codecs import Codec

SCHEMA = 1
Value = TypeVar("Value")
ROOT_FILES = ("ensemble.py", "bank_file.py", "budget.py", "tiles.py")
NUMERICS = ("torch", "numpy", "scipy")  # another version of these makes a new key


class DamagedArtifact(UserWarning):
    """A file of a run is not what the manifest says; it is computed again."""


@dataclass(frozen=True)
class Artifact(Generic[Value]):
    """The result of a stage, and the key that names everything it depends on."""

    value: Value
    key: str


class RunFolder:
    """A folder that keeps the stages of one run.

    Use it as a context manager: one process at a time works in a folder.

    Args:
        path: the folder; made if need be.
        report: called with a stage's name and its seconds when it ends, or None when it was reused.

    Raises:
        OSError: the folder cannot be written, or another process is working in it.
    """

    def __init__(self, path: str | os.PathLike, report: Callable[[str, float | None], None] | None = None) -> None:
        self.path = Path(path)
        self.report = report or (lambda stage, seconds: None)
        self.reused: list[str] = []
        self._check_writable()
        self._manifest = self._read_manifest()

    def stage(
        self,
        name: str,
        settings: Mapping[str, Any],
        compute: Callable[[], Value],
        codec: Codec[Value],
        rooms: tuple[str, ...] = (),
    ) -> Artifact[Value]:
        """Read a finished stage back, or compute it and keep it.

        Args:
            name: path of the stage's file below the folder, without its ending ("train/mean_field").
            settings: everything the result depends on, as JSON; keys of earlier artifacts among them.
            compute: makes the value.
            codec: how the value is written and read.
            rooms: folders of holdfast whose code the stage runs; a change of that code makes a new key.
        """
        numerics = {package: version(package) for package in NUMERICS}
        key = _key({"stage": name, "settings": settings, "code": code_checksum(rooms), "versions": numerics})
        file = self.path / f"{name}{codec.suffix}"
        record = self._manifest["stages"].get(name)
        if record and record["key"] == key and self._is_whole(name, file, record):
            self.reused.append(name)
            self.report(name, None)
            return Artifact(codec.read(file), key)
        start = time.perf_counter()
        value = compute()
        seconds = time.perf_counter() - start
        with atomic(file) as partial:
            codec.write(partial, value)
            checksum = file_checksum(partial)
        self._manifest["stages"][name] = {
            "key": key,
            "file": str(file.relative_to(self.path)),
            "sha256": checksum,
            "seconds": round(seconds, 3),
            "settings": settings,
        }
        self._write_manifest()
        self.report(name, seconds)
        return Artifact(value, key)

    def describe(self, **facts: Any) -> None:
        """Put facts (settings, seeds, checksums, the command) into the manifest."""
        self._manifest.update(facts)
        self._write_manifest()

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What `manifest.json` says."""
        return self._manifest

    def __enter__(self) -> "RunFolder":
        from filelock import FileLock, Timeout

        self._lock = FileLock(self.path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BlockingIOError(
                f"another holdfast process is working in {self.path}; wait for it, or choose another folder with --run."
            ) from None
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def _is_whole(self, name: str, file: Path, record: Mapping[str, Any]) -> bool:
        if file.is_file() and file_checksum(file) == record["sha256"]:
            return True
        state = "damaged (its checksum differs from the manifest)" if file.exists() else "missing"
        warnings.warn(f"{file} is {state}; stage {name} is computed again.", DamagedArtifact, stacklevel=3)
        return False

    def _check_writable(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise OSError(
                f"the run folder {self.path} cannot be written ({error.strerror}); choose another one with --run."
            ) from error

    def _read_manifest(self) -> dict[str, Any]:
        file = self.path / "manifest.json"
        fresh = {"schema": SCHEMA, "versions": versions(), "stages": {}}
        if not file.exists():
            return fresh
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            known = found["schema"] == SCHEMA and isinstance(found["stages"], dict)
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            warnings.warn(f"{file} cannot be read; the run starts afresh.", DamagedArtifact, stacklevel=3)
            return fresh
        return found | {"versions": versions()}

    def _write_manifest(self) -> None:
        with atomic(self.path / "manifest.json") as partial:
            partial.write_text(json.dumps(self._manifest, indent=1, default=str), encoding="utf-8")


@contextmanager
def atomic(file: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of `file` only when the block ends without an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    try:
        yield partial
        with partial.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def file_checksum(file: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def code_checksum(rooms: tuple[str, ...]) -> str:
    """The sha256 over the source of some rooms and of the root files that all rooms use."""
    home = Path(holdfast.__file__).parent
    files = [home / f for f in ROOT_FILES] + [f for room in rooms for f in (home / room).rglob("*.py")]
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        digest.update(str(file.relative_to(home)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = {p: version(p) for p in ("torch", "numpy", "scipy", "statsmodels", "safetensors")}
    return {"holdfast": holdfast.__version__, "python": platform.python_version(), **packages}


def _key(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
