"""Manifest: what a run folder says of itself, read without trusting it.

    manifest.json          schema, versions and facts (settings, seeds, data checksums, the command)
    NAME.record.json       a record for each finished stage, beside its file: key, file, sha256, seconds, begun ...

Every stage has a record of its own, so that many processes can finish stages in one folder without waiting for each
other, and a folder of ten thousand stages is not written anew with every one. In the first schema all records lay in
`manifest.json`; such folders are read as they are.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

SCHEMA = 2  # of what is written; all up to it are read
MANIFEST, RECORD = "manifest.json", ".record.json"
LIMIT = 1 << 28  # bytes of a manifest; one of the first schema has about 500 for each stage
_NAME = re.compile(r"\w[\w.+=@%,-]*(/\w[\w.+=@%,-]*)*")


class LaterSchema(ValueError):
    """A run folder was written by a later version of holdfast."""


def check_stage_name(name: str) -> None:
    """A stage's name is the path of its file below the run folder: nothing that leads out of it or hides.

    >>> check_stage_name("train/mean_field")
    >>> check_stage_name("../train")
    Traceback (most recent call last):
    ...
    ValueError: a stage cannot be called '../train': expected words joined by '/', such as 'train/mean_field'.
    """
    if not _NAME.fullmatch(name) or name == "manifest" or name.endswith(".record") or len(name) > 200:
        raise ValueError(
            f"a stage cannot be called {name[:100]!r}: expected words joined by '/', such as 'train/mean_field'."
        )


def record_file(run: Path, name: str) -> Path:
    """Where the record of a stage lies."""
    return run / f"{name}{RECORD}"


def read_manifest(run: Path, *, records: bool = True) -> dict[str, Any]:
    """What `manifest.json` says, with the records of all finished stages under "stages".

    Args:
        run: the folder.
        records: read also those records that have a file of their own.

    Raises:
        FileNotFoundError: there is no manifest in this folder.
        LaterSchema: (a ValueError) it is of a later version of holdfast.
        ValueError: it cannot be read, or is not that of a run.
    """
    file = run / MANIFEST
    found = _read_object(file)
    schema, stages = found.get("schema"), found.get("stages", {})
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise ValueError(f"{file} is not the manifest of a run (its schema is {str(schema)[:40]}).")
    if schema > SCHEMA:
        raise LaterSchema(
            f"{file} has schema {str(schema)[:20]}, of a later holdfast; this version knows those up to {SCHEMA}: "
            "upgrade it, or choose another run folder."
        )
    if not isinstance(stages, dict) or (schema == 1 and "stages" not in found):
        raise ValueError(f"{file} is not the manifest of a run (it has no stages).")
    for name, record in stages.items():
        _check_record(file, name, record)
    for other in sorted(run.rglob(f"*{RECORD}")) if records else ():
        name = other.relative_to(run).as_posix().removesuffix(RECORD)
        stages |= {name: read_record(other, name)}
    return found | {"stages": stages}


def read_record(file: Path, name: str) -> dict[str, Any]:
    """The record of one stage.

    Raises:
        FileNotFoundError: the stage is not finished.
        ValueError: the record cannot be read.
    """
    try:
        record = _read_object(file)
        _check_record(file, name, record)
    except ValueError as error:
        raise ValueError(f"{error} Delete it, or run its command again: the stage is then computed anew.") from error
    return record


def _read_object(file: Path) -> dict[str, Any]:
    if file.stat().st_size > LIMIT:
        raise ValueError(f"{file} has {file.stat().st_size:,} bytes, more than any manifest of a run.")
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not the manifest of a run ({type(error).__name__}: {error}).") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is not the manifest of a run (no object but {type(found).__name__}).")
    return found


def _check_record(file: Path, name: str, record: Any) -> None:
    """A record names its file by a path without surprises, a key, a checksum and finite seconds."""
    found = record if isinstance(record, Mapping) else {}
    texts = [found.get(field) for field in ("file", "key", "sha256")]
    seconds = found.get("seconds")
    sound = all(isinstance(text, str) and 0 < len(text) < 4096 for text in texts)
    sound &= isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    sound &= type(found.get("begun", 1)) is int  # records of older versions do not say
    if not sound or seconds < 0 or len(name) > 4096:
        raise ValueError(
            f"{file} is not the manifest of a run (stage {name[:60]!r} without file, key, checksum or seconds)."
        )
    if "\0" in texts[0] or any(len(part.encode(errors="replace")) > 255 for part in PurePosixPath(texts[0]).parts):
        raise ValueError(f"{file} is not the manifest of a run (stage {name[:60]!r} has no file that could exist).")
