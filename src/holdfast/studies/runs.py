"""Runs: finding run folders, checking their files against their manifests, and removing what no manifest names."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.studies.run_folder import SCHEMA, RunFolder, file_checksum

STAGE_FILES = {
    ".json",
    ".parquet",
    ".safetensors",
}  # what codecs write; nothing else is ever removed, but partial files


@dataclass(frozen=True)
class Run:
    """A run folder as its manifest describes it.

    Attributes:
        path: the folder.
        manifest: what `manifest.json` says.
        bytes: of all its files together.
        changed: when the manifest was last written.
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
    """All runs in a folder and below, by path; folders whose manifest cannot be read are left out."""
    found = []
    for file in sorted(Path(folder).rglob("manifest.json")):
        try:
            found.append(open_run(file.parent))
        except ValueError:
            continue
    return found


def open_run(path: Path) -> Run:
    """One run.

    Raises:
        FileNotFoundError: there is no run in this folder.
        ValueError: its manifest cannot be read, or is of a later version of holdfast.
    """
    file = Path(path) / "manifest.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no run in {path} (no manifest.json); `holdfast runs list` shows those there are."
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        schema, stages = int(manifest["schema"]), manifest["stages"]
        sound = all(isinstance(r["file"], str) and r["sha256"] and r["seconds"] >= 0 for r in stages.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is not the manifest of a run ({type(error).__name__}: {error}).") from error
    if not sound:
        raise ValueError(f"{file} is not the manifest of a run (a stage without file, checksum or seconds).")
    if schema > SCHEMA:
        raise ValueError(f"{file} has schema {schema}; this version of holdfast knows those up to {SCHEMA}.")
    size = sum(f.stat().st_size for f in file.parent.rglob("*") if f.is_file())
    return Run(file.parent, manifest, size, datetime.fromtimestamp(file.stat().st_mtime, UTC))


def verify_run(run: Run) -> dict[str, str]:
    """Stage by stage: "whole", "damaged" (the checksum differs), "missing", or "outside" (its path leaves the run)."""
    return {name: _state(run, record) for name, record in run.stages.items()}


def leftovers(run: Run) -> Iterator[Path]:
    """Files of stages that the manifest does not name (any more), and halves of interrupted writes."""
    named = {(run.path / record["file"]).resolve() for record in run.stages.values()}
    named.add((run.path / "manifest.json").resolve())
    for file in sorted(run.path.rglob("*")):
        stage = file.suffix in STAGE_FILES or file.name.endswith(".partial")
        if stage and file.is_file() and not file.is_symlink() and file.resolve() not in named:
            yield file


def remove_leftovers(run: Run) -> int:
    """Delete them, under the run's lock, and folders left empty; how many bytes were freed.

    Raises:
        BlockingIOError: another process is working in the folder.
    """
    with RunFolder(run.path):
        freed = 0
        for file in leftovers(open_run(run.path)):
            freed += file.stat().st_size
            file.unlink()
        for folder in sorted((f for f in run.path.rglob("*") if f.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
    return freed


def _state(run: Run, record: dict[str, Any]) -> str:
    file = (run.path / record["file"]).resolve()
    if not file.is_relative_to(run.path.resolve()):
        return "outside"
    if not file.is_file():
        return "missing"
    return "whole" if file_checksum(file) == record["sha256"] else "damaged"
