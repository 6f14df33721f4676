"""load: a data set by its name.

The files are found (`finding.py`) or downloaded (`fetching.py`), unpacked in memory (`unpacking.py`) and read by their
layout (`idx.py`, `cifar.py`, `tiny_imagenet.py`). What they hold is checked on every load, whatever they are packed in:

- MNIST, Fashion-MNIST, fashion-mini: the checksum of the unpacked content is the official one;
- CIFAR-10: labels and pixels of all but 111 images have the known checksum, or the file is the official archive;
- Tiny ImageNet: the zip's own checksums, and a structure without gaps, since any cut of it to some classes is welcome.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from holdfast.data.catalogue import ENTRIES, entry
from holdfast.data.cifar import certain_checksum, parse_cifar
from holdfast.data.dataset import Dataset, Split
from holdfast.data.entry import Entry, Piece
from holdfast.data.errors import DataError
from holdfast.data.fetching import fetch, missing, remedy
from holdfast.data.finding import Found, check_data_dir, files_in, find, searched
from holdfast.data.half_moons import half_moons
from holdfast.data.idx import parse_idx
from holdfast.data.placed import placed
from holdfast.data.tiny_imagenet import read_tiny_imagenet
from holdfast.data.unpacking import Zip, read_content, read_tar
from holdfast.progress import track

DIMENSIONS = {"images": 3, "labels": 1}  # of the IDX files


def load(name: str, *, data_dir: str | os.PathLike | None = None, download: bool = True, **settings: Any) -> Dataset:
    """Load a data set: images in [0, 1] as float32, labels as int64, in the official order.

    Args:
        name: a name of the catalogue: "fashion-mini" (comes with the package), "mnist", "fashion-mnist", "cifar-10",
            "tiny-imagenet", "half-moons" or "placed" (generated).
        data_dir: folder to search first; then $HOLDFAST_DATA and the user's cache are searched.
        download: whether to download to the user's cache what is in none of these folders.
        settings: for generated data only: points, noise, train, seed of `half_moons`; train, test, two, seed of
            `placed`.

    Raises:
        DataError: (a ValueError) no such name, or a damaged file; the message says which, what is wrong, what to do.
        MissingDataError: (a DataError) files are missing and could not be downloaded.
        TypeError: settings for a data set that has none.

    >>> data = load("fashion-mini")
    >>> data.train.images.shape, data.test.labels.bincount()[9].item(), data.classes[9]
    (torch.Size([6000, 1, 28, 28]), 100, 'ankle boot')
    """
    wanted = entry(name)
    if wanted.layout == "formula":
        return half_moons(**settings) if name == "half-moons" else placed(load("fashion-mini"), **settings)
    if settings:
        raise TypeError(
            f"load: {name} has no settings, got {', '.join(settings)}; only half-moons and placed have some."
        )
    check_data_dir(data_dir)
    found = find(wanted, data_dir)
    if found is None:
        if not (download and wanted.downloads):
            raise missing(wanted, data_dir, _lying_around(wanted, data_dir))
        fetch(name)
        found = find(wanted, data_dir)
        if found is None:
            raise missing(wanted, data_dir)
    try:
        return _read(wanted, found)
    except DataError as error:
        raise type(error)(f"{error} {_repair(wanted, found)}") from error.__cause__


def contents(wanted: Entry, found: Found) -> Iterator[tuple[Piece, bytes]]:
    """The pieces of a data set, unpacked and checked, in any order."""
    if found.archive is not None:
        pieces = {piece.name: piece for piece in wanted.pieces}
        official = None  # hashing 170 MB is left until a content check fails
        for name, content in read_tar(found.archive, {piece.name: piece.size for piece in wanted.pieces}):
            try:
                check_content(wanted, pieces[name], content, f"{found.archive}: {name}")
            except DataError:
                official = is_official(wanted, found.archive) if official is None else official
                if not official:
                    raise
            yield pieces[name], content
        return
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # the unpackers release the interpreter's lock
        yield from zip(wanted.pieces, pool.map(lambda p: read_piece(wanted, p, found.files[p.name]), wanted.pieces))


def read_piece(wanted: Entry, piece: Piece, path: Path) -> bytes:
    """One file, unpacked and checked."""
    content = read_content(path, piece.size)
    check_content(wanted, piece, content, str(path))
    return content


def check_content(wanted: Entry, piece: Piece, content: bytes, where: str) -> None:
    """The format must be right, and the content the known one."""
    if wanted.layout == "cifar":
        parse_cifar(content, where)
        checksum = certain_checksum(content, piece.uncertain)
    else:
        parse_idx(content, where, DIMENSIONS[piece.kind])
        checksum = hashlib.sha256(content).hexdigest()
    if checksum == piece.sha256:
        return
    for other in ENTRIES.values():
        if any(checksum == p.sha256 for p in other.pieces):
            raise DataError(f"{where}: is a file of {other.title}, not of {wanted.title}.")
    raise DataError(
        f"{where}: the content is not that of {wanted.title}: its sha256 is {checksum}, expected {piece.sha256}."
    )


def is_official(wanted: Entry, path: Path) -> bool:
    """Whether a file has the checksum of one of the official downloads."""
    with open(path, "rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return any(checksum == download.sha256 for download in wanted.downloads)


def _read(wanted: Entry, found: Found) -> Dataset:
    if wanted.layout == "tiny-imagenet":
        with Zip(found.archive, str(found.archive)) as archive:
            return read_tiny_imagenet(archive)
    splits = {
        part: Split(torch.empty(count, *wanted.shape), torch.empty(count, dtype=torch.int64))
        for part, count in (("train", wanted.train), ("test", wanted.test))
    }
    sums = {}
    for piece, content in track(contents(wanted, found), f"reading {wanted.title}", len(wanted.pieces)):
        sums[piece.name] = hashlib.sha256(content).hexdigest()
        _fill(splits[piece.part], piece, content)
    digest = hashlib.sha256("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()).hexdigest()
    return Dataset(wanted.name, splits["train"], splits["test"], wanted.classes, digest)


def _fill(split: Split, piece: Piece, content: bytes) -> None:
    """Write the images and labels of a piece where they belong; the division makes the only float copy."""
    if piece.kind == "records":
        pixels, classes = parse_cifar(content, piece.name)
    else:
        values = parse_idx(content, piece.name, DIMENSIONS[piece.kind])
        pixels, classes = (values[:, None], None) if piece.kind == "images" else (None, values)
    if pixels is not None:
        rows = split.images[piece.first : piece.first + len(pixels)]
        np.divide(pixels, np.float32(255), out=rows.numpy())
    if classes is not None:
        split.labels.numpy()[piece.first : piece.first + len(classes)] = classes


def _lying_around(wanted: Entry, data_dir: str | os.PathLike | None) -> list[Path]:
    return [path for folder in searched(wanted, data_dir) for path in files_in(wanted, folder).values()]


def _repair(wanted: Entry, found: Found) -> str:
    if wanted.embedded:
        return remedy(wanted)
    return f"Remove that file from {found.folder}. {remedy(wanted)}"
