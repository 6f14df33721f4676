"""verify: are the files of a data set there and whole?"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.data.catalogue import entry
from holdfast.data.entry import Entry, Piece
from holdfast.data.errors import DataError
from holdfast.data.fetching import missing
from holdfast.data.finding import Found, check_data_dir, files_in, find, searched
from holdfast.data.loading import contents, is_official, read_piece
from holdfast.data.tiny_imagenet import check_tiny_imagenet
from holdfast.data.unpacking import Zip
from holdfast.progress import track


@dataclass(frozen=True)
class Check:
    """What came of checking one file.

    Attributes:
        file: its path, or the name of the data set where there is none.
        status: "official" (the checksum of the official file), "same content" (packed differently, checked inside),
            "generated", "damaged" or "missing".
        note: what was wrong, or how the content was checked.
    """

    file: str
    status: str
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether `load` accepts the file."""
        return self.status not in ("damaged", "missing")


def verify(name: str, *, data_dir: str | os.PathLike | None = None) -> list[Check]:
    """Check every file of a data set as `load` would find it, reading all of it.

    Args:
        name: of the data set.
        data_dir: folder to search first; then $HOLDFAST_DATA and the user's cache are searched.

    Raises:
        DataError: there is no data set of that name, or `data_dir` is no folder.

    >>> [check.status for check in verify("fashion-mini")]
    ['official', 'official', 'official', 'official']
    """
    wanted = entry(name)
    if wanted.layout == "formula":
        return [Check(wanted.name, "generated", "made from a formula; there are no files")]
    check_data_dir(data_dir)
    found = find(wanted, data_dir)
    if found is None:
        lying = [path for folder in searched(wanted, data_dir) for path in files_in(wanted, folder).values()]
        return [Check(wanted.name, "missing", str(missing(wanted, data_dir, lying)))]
    if found.archive is not None:
        return [_check_archive(wanted, found)]
    return list(track(_check_pieces(wanted, found), f"checking {wanted.title}", len(wanted.pieces)))


def _check_pieces(wanted: Entry, found: Found) -> Iterator[Check]:
    for piece in wanted.pieces:
        path = found.files[piece.name]
        try:
            read_piece(wanted, piece, path)
        except DataError as error:
            yield Check(str(path), "damaged", str(error))
        else:
            yield _sound(wanted, piece, path)


def _sound(wanted: Entry, piece: Piece, path: Path) -> Check:
    if wanted.embedded or is_official(wanted, path):
        return Check(str(path), "official")
    if piece.uncertain:
        return Check(str(path), "same content", "known checksum over all images but the 111 without a certain copy")
    return Check(str(path), "same content", "the unpacked bytes have the official checksum")


def _check_archive(wanted: Entry, found: Found) -> Check:
    where = str(found.archive)
    try:
        if is_official(wanted, found.archive):
            return Check(where, "official")
        if wanted.layout == "tiny-imagenet":
            with Zip(found.archive, where) as archive:
                count = check_tiny_imagenet(archive)
            return Check(where, "same content", f"a cut: {count:,} images, all readable, lists and images agree")
        for _ in track(contents(wanted, found), f"checking {wanted.title}", len(wanted.pieces)):
            pass  # every piece is checked before it comes out
        return Check(where, "same content", "known checksum over all images but the 111 without a certain copy")
    except (DataError, OSError) as error:
        return Check(where, "damaged", str(error))
