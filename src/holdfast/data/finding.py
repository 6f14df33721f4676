"""Where data files are looked for: `data_dir`, then $HOLDFAST_DATA, then the user's cache.

In each of these folders the files may lie in the subfolders that the catalogue names, or directly. A data set is found
in one folder as a whole: files from two folders are never mixed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.data.entry import Entry
from holdfast.data.errors import DataError

VARIABLE = "HOLDFAST_DATA"


@dataclass(frozen=True)
class Found:
    """The files of a data set in one folder: one file for each piece, or one archive.

    Attributes:
        folder: where they are.
        files: name of the piece -> its file; empty where `archive` holds everything.
        archive: the archive, if any.
    """

    folder: Path
    files: dict[str, Path]
    archive: Path | None = None


def find(entry: Entry, data_dir: str | os.PathLike | None = None) -> Found | None:
    """The files of a data set in the first folder that has all of them, or None."""
    for folder in searched(entry, data_dir):
        files = files_in(entry, folder)
        if entry.pieces and len(files) == len(entry.pieces):
            return Found(folder, files)
        for pattern in entry.archives:
            for archive in sorted(folder.glob(pattern)):
                if archive.is_file():
                    return Found(folder, {}, archive)
    return None


def files_in(entry: Entry, folder: Path) -> dict[str, Path]:
    """The pieces that lie in `folder`, each under the first of its names that is there."""
    found = {}
    for piece in entry.pieces:
        for name in piece.names:
            if (folder / name).is_file():
                found[piece.name] = folder / name
                break
    return found


def searched(entry: Entry, data_dir: str | os.PathLike | None = None) -> Iterator[Path]:
    """The folders in which the files of a data set are looked for, in that order."""
    if entry.embedded:
        yield Path(__file__).parent / entry.folders[0]
        return
    for root in roots(data_dir):
        for folder in entry.folders:
            yield root / folder if folder else root


def roots(data_dir: str | os.PathLike | None = None) -> list[Path]:
    """`data_dir`, $HOLDFAST_DATA and the user's cache, as far as they are given."""
    given = [Path(data_dir).expanduser()] if data_dir is not None else []
    if os.environ.get(VARIABLE):
        given.append(Path(os.environ[VARIABLE]).expanduser())
    return [*given, cache()]


def cache() -> Path:
    """The user's cache folder of holdfast, where downloads go by default."""
    import pooch

    return Path(pooch.os_cache("holdfast"))


def check_data_dir(data_dir: str | os.PathLike | None) -> None:
    """A `data_dir` that is given must be a folder: a misspelt one must not lead to a silent download."""
    if data_dir is not None and not Path(data_dir).expanduser().is_dir():
        raise DataError(f"data_dir {str(data_dir)!r} is not a folder; correct it or create it.")
