"""Keys of stages: the sha256 of everything that a result depends on."""

import hashlib
import json
import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import holdfast

ROOT_FILES = ("ensemble.py", "bank_file.py", "budget.py", "chosen_draws.py", "tiles.py")
NUMERICS = ("torch", "numpy", "scipy")  # another version of these makes a new key
version = cache(metadata.version)  # a millisecond for each package, and a stage asks for several


@cache
def _code_checksum(rooms: tuple[str, ...]) -> str:
    """The sha256 over the source of some rooms and of the root files that all rooms use, read once in a process."""
    home = Path(holdfast.__file__).parent
    files = [home / f for f in ROOT_FILES] + [f for room in rooms for f in (home / room).rglob("*.py")]
    files += [file for room in rooms if (file := home / f"{room}.py").is_file()]
    digest = hashlib.sha256()
    for file in sorted(set(files)):
        digest.update(str(file.relative_to(home)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def stage_key(name: str, settings: Mapping[str, Any], rooms: tuple[str, ...]) -> str:
    """The sha256 of everything that a stage depends on, in hexadecimal."""
    numerics = {package: version(package) for package in NUMERICS}
    content = {"stage": name, "settings": settings, "code": _code_checksum(rooms), "versions": numerics}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    packages = {p: version(p) for p in ("torch", "numpy", "scipy", "statsmodels", "safetensors")}
    return {"holdfast": holdfast.__version__, "python": platform.python_version(), **packages}
