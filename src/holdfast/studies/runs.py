"""Runs: finding run folders, checking their files against their manifests, and removing what no manifest names."""

import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.studies.atomic import PARTIAL, file_checksum
from holdfast.studies.manifest import MANIFEST, RECORD, LaterSchema, read_manifest, read_record, record_file
from holdfast.studies.run_folder import RunFolder

STAGE_FILES = {".json", ".parquet", ".safetensors"}  # what codecs write; nothing else is ever removed, but


@dataclass(frozen=True)
class Run:
    """A run folder as its manifest describes it.

    Attributes:
        path: the folder.
        manifest: what `manifest.json` says.
        bytes: of all its files together.
        changed: when any of them was last written.
    """

    path: Path
    manifest: dict[str, Any]
    bytes: int
    changed: datetime

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The records of its finished stages, by name."""
        return self.manifest["stages"]

    @property
    def seconds(self) -> float:
        """What the stages took together."""
        return sum(record["seconds"] for record in self.stages.values())


def find_runs(folder: Path) -> list[Run]:
    """All runs in a folder and below, by path; those that cannot be read are left out, later ones with a warning."""
    found = []
    for file in sorted(Path(folder).rglob("manifest.json")):
        try:
            found.append(open_run(file.parent))
        except LaterSchema as error:
            warnings.warn(str(error), stacklevel=2)
        except ValueError:
            continue
    return found


def open_run(path: Path) -> Run:
    """One run.

    Raises:
        FileNotFoundError: there is no run in this folder.
        ValueError: its manifest cannot be read, or is of a later version of holdfast.
    """
    file = Path(path) / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no run in {path} (no {MANIFEST}); `holdfast runs list` shows those there are."
        )
    manifest = read_manifest(file.parent)
    size, changed = 0, file.stat().st_mtime
    for other in file.parent.rglob("*"):
        with suppress(FileNotFoundError):  # a process at work there may have moved it
            if other.is_file():
                size, changed = size + other.stat().st_size, max(changed, other.stat().st_mtime)
    return Run(file.parent, manifest, size, datetime.fromtimestamp(changed, UTC))


def verify_run(run: Run) -> dict[str, str]:
    """Stage by stage: "whole", "damaged" (the checksum differs), "missing", or "outside" (its path leaves the run)."""
    return {name: _state(run, record) for name, record in run.stages.items()}


def leftovers(run: Run) -> Iterator[Path]:
    """Files of stages that no record names (any more), and halves of interrupted writes."""
    named = {(run.path / record["file"]).resolve() for record in run.stages.values()}
    named |= {record_file(run.path, name).resolve() for name in run.stages} | {(run.path / MANIFEST).resolve()}
    for file in sorted(run.path.rglob("*")):
        stage = file.suffix in STAGE_FILES or file.suffix == PARTIAL
        hidden = any(part.startswith(".") for part in file.relative_to(run.path).parts[:-1])  # where a stage works
        if stage and not hidden and file.is_file() and not file.is_symlink() and file.resolve() not in named:
            yield file


def remove_leftovers(run: Run) -> tuple[int, int]:
    """Delete them, and folders left empty; how many files and bytes. What a process is writing now stays."""
    folder = RunFolder(run.path)
    count = freed = 0
    for file in leftovers(run):
        stage = _stage_of(run, file)
        try:
            with folder.locked(stage, wait=False):
                if not _is_named(run, stage, file):  # a process may have finished it a moment ago
                    size = file.stat().st_size
                    file.unlink()
                    count, freed = count + 1, freed + size
        except BlockingIOError:
            continue
    for left in sorted((f for f in run.path.rglob("*") if f.is_dir()), reverse=True):
        if not any(left.iterdir()):  # locks stay: to remove one while another process waits for it would make two
            left.rmdir()
    return count, freed


def _stage_of(run: Run, file: Path) -> str:
    """The stage whose lock protects a file: that of its name, before a half is called a half."""
    whole = re.sub(r"^\.(.+?)(\.\d+-[0-9a-f]+)?(\.partial)+$", r"\1", file.name)
    stem = whole.removesuffix(RECORD) if whole.endswith(RECORD) else Path(whole).stem
    return file.with_name(stem).relative_to(run.path).as_posix()


def _is_named(run: Run, stage: str, file: Path) -> bool:
    try:
        record = read_record(record_file(run.path, stage), stage)
    except (OSError, ValueError):
        return False
    return file in (run.path / record["file"], record_file(run.path, stage))


def _state(run: Run, record: dict[str, Any]) -> str:
    file = (run.path / record["file"]).resolve()
    if not file.is_relative_to(run.path.resolve()):
        return "outside"
    if not file.is_file():
        return "missing"
    return "whole" if file_checksum(file) == record["sha256"] else "damaged"
