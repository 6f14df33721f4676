"""Files that are either whole or absent, and their checksums."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PARTIAL = ".partial"  # the ending of what is not finished


@contextmanager
def atomic(file: Path) -> Iterator[Path]:
    """Yield a path to write to; it takes the place of `file` only when the block ends without an error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}{PARTIAL}")
    try:
        yield partial
        with partial.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    with atomic(file) as partial:
        partial.write_text(json.dumps(content, indent=1, default=str), encoding="utf-8")


def file_checksum(file: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
