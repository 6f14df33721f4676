"""Tiny ImageNet: 64 x 64 JPEG images with boxes, from a zip in the official layout, whole or cut to some classes.

    wnids.txt                            one class identifier a line; the line number is the label
    words.txt                            identifier, tab, names; the first name is the class name
    train/<wnid>/<wnid>_boxes.txt        image, x0, y0, x1, y1, tab-separated; the order of the training images
    train/<wnid>/images/<image>
    val/val_annotations.txt              image, wnid, x0, y0, x1, y1; the order of the test images
    val/images/<image>

Le and Yang, "Tiny ImageNet Visual Recognition Challenge", 2015. The labelled validation images serve as the test split;
the official test images have no labels and are left out. Grey images become RGB. Some boxes have zero width or height
in the source: they are kept as they are, and `Split.degenerate` marks them.
"""

import hashlib
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from holdfast.data.dataset import Dataset, Split
from holdfast.data.errors import DataError
from holdfast.data.unpacking import Zip, readable
from holdfast.progress import track

SIDE = 64
TEXT_LIMIT, IMAGE_LIMIT = 16 << 20, 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}(\.[A-Za-z0-9]{1,10})?")
_NUMBER = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True)
class Listing:
    """The images of one split: where each lies in the zip, its label, its box."""

    members: tuple[str, ...]
    labels: tuple[int, ...]
    boxes: tuple[tuple[int, int, int, int], ...]


def read_tiny_imagenet(archive: Zip) -> Dataset:
    """Both splits, decoded.

    Raises:
        DataError: a file is missing or damaged, an image is not 64 x 64, or a line of a list makes no sense.
    """
    classes, train, test = read_listings(archive)
    digest = hashlib.sha256("\n".join(classes).encode())
    splits = []
    for listing, title in ((train, "reading training images"), (test, "reading test images")):
        digest.update(repr((listing.labels, listing.boxes)).encode())
        images = torch.empty(len(listing.members), 3, SIDE, SIDE)
        pixels = images.numpy()
        for row, jpeg in enumerate(track(_jpegs(archive, listing), title, len(listing.members))):
            digest.update(jpeg)
            decoded = decode_image(jpeg, f"{archive.where}: {listing.members[row]}")
            np.divide(decoded.transpose(2, 0, 1), np.float32(255), out=pixels[row])
        splits.append(Split(images, torch.tensor(listing.labels), torch.tensor(listing.boxes)))
    return Dataset("tiny-imagenet", splits[0], splits[1], classes, digest.hexdigest())


def check_tiny_imagenet(archive: Zip) -> int:
    """Read and decode every image, keeping none; the number of images."""
    _, train, test = read_listings(archive)
    for listing, title in ((train, "checking training images"), (test, "checking test images")):
        for row, jpeg in enumerate(track(_jpegs(archive, listing), title, len(listing.members))):
            decode_image(jpeg, f"{archive.where}: {listing.members[row]}")
    return len(train.members) + len(test.members)


def read_listings(archive: Zip) -> tuple[tuple[str, ...], Listing, Listing]:
    """Class names, training images and test images, in the order of the lists in the zip."""
    roots = [n.removesuffix("wnids.txt") for n in archive.names if n == "wnids.txt" or n.endswith("/wnids.txt")]
    if len(roots) != 1:
        raise DataError(f"{archive.where}: has {len(roots)} files wnids.txt, expected one; not a Tiny ImageNet zip.")
    root = roots[0]
    wnids = parse_wnids(archive.read(f"{root}wnids.txt", TEXT_LIMIT), f"{archive.where}: wnids.txt")
    words = b""
    if f"{root}words.txt" in archive.names:
        words = archive.read(f"{root}words.txt", TEXT_LIMIT)

    members: list[str] = []
    labels: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    for label, wnid in enumerate(wnids):
        name = f"{root}train/{wnid}/{wnid}_boxes.txt"
        rows = parse_boxes(archive.read(name, TEXT_LIMIT), f"{archive.where}: {name}")
        members += [f"{root}train/{wnid}/images/{image}" for image, _ in rows]
        labels += [label] * len(rows)
        boxes += [box for _, box in rows]
    train = Listing(tuple(members), tuple(labels), tuple(boxes))

    name = f"{root}val/val_annotations.txt"
    rows = parse_annotations(archive.read(name, TEXT_LIMIT), f"{archive.where}: {name}", wnids)
    test = Listing(
        tuple(f"{root}val/images/{image}" for image, _, _ in rows),
        tuple(label for _, label, _ in rows),
        tuple(box for _, _, box in rows),
    )
    return class_names(words, f"{archive.where}: words.txt", wnids), train, test


def parse_wnids(content: bytes, where: str) -> tuple[str, ...]:
    """Class identifiers, one a line, all different."""
    wnids = tuple(line.strip() for line in _lines(content, where))
    for number, wnid in enumerate(wnids, 1):
        if not _NAME.fullmatch(wnid):
            raise DataError(f"{where}, line {number}: {wnid[:40]!r} is no class identifier.")
    if not wnids or len(set(wnids)) < len(wnids):
        raise DataError(f"{where}: {'names a class twice' if wnids else 'is empty'}.")
    return wnids


def class_names(content: bytes, where: str, wnids: tuple[str, ...]) -> tuple[str, ...]:
    """The first name of each class in words.txt; its identifier where it has none, and in brackets where two agree."""
    first = {}
    for line in _lines(content, where):
        wnid, _, names = line.partition("\t")
        first[wnid] = names.split(",")[0].strip()
    names = [first.get(wnid) or wnid for wnid in wnids]
    counts = Counter(names)
    return tuple(f"{name} ({wnid})" if counts[name] > 1 else name for name, wnid in zip(names, wnids))


def parse_boxes(content: bytes, where: str) -> list[tuple[str, tuple[int, int, int, int]]]:
    """The images of one class and their boxes.

    >>> parse_boxes(b"n1_0.JPEG\\t26\\t52\\t32\\t58", "n1_boxes.txt")
    [('n1_0.JPEG', (26, 52, 32, 58))]
    """
    rows = []
    for number, line in enumerate(_lines(content, where), 1):
        fields = line.split("\t")
        if len(fields) != 5:
            raise DataError(f"{where}, line {number}: {len(fields)} fields, expected an image name and four numbers.")
        rows.append((_image_name(fields[0], where, number), _box(fields[1:], where, number)))
    return _all_different(rows, where)


def parse_annotations(
    content: bytes, where: str, wnids: tuple[str, ...]
) -> list[tuple[str, int, tuple[int, int, int, int]]]:
    """The test images, their labels and their boxes."""
    label = {wnid: number for number, wnid in enumerate(wnids)}
    rows = []
    for number, line in enumerate(_lines(content, where), 1):
        fields = line.split("\t")
        if len(fields) != 6 or fields[1] not in label:
            raise DataError(
                f"{where}, line {number}: expected an image name, a class of wnids.txt and four numbers, "
                f"got {line[:60]!r}."
            )
        rows.append((_image_name(fields[0], where, number), label[fields[1]], _box(fields[2:], where, number)))
    return _all_different(rows, where)


def decode_image(jpeg: bytes, where: str) -> np.ndarray:
    """A JPEG as unsigned bytes `[64, 64, 3]`; grey becomes RGB."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
                if image.size != (SIDE, SIDE):
                    raise DataError(f"{where}: is {image.width} x {image.height} pixels, expected {SIDE} x {SIDE}.")
                return np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except Exception as error:  # a decoder of another library: whatever it raises, the image is not readable
        raise DataError(f"{where}: not an intact JPEG: {error}.") from error


def _jpegs(archive: Zip, listing: Listing) -> Iterator[bytes]:
    for member in listing.members:
        yield archive.read(member, IMAGE_LIMIT)


def _lines(content: bytes, where: str) -> list[str]:
    with readable(where):
        return content.decode("utf-8").rstrip("\n").split("\n") if content else []


def _image_name(field: str, where: str, number: int) -> str:
    if not _NAME.fullmatch(field):
        raise DataError(f"{where}, line {number}: {field[:40]!r} is no image name.")
    return field


def _box(fields: list[str], where: str, number: int) -> tuple[int, int, int, int]:
    texts = [field.strip() for field in fields]
    if not all(_NUMBER.fullmatch(text) and int(text) < SIDE for text in texts):
        raise DataError(f"{where}, line {number}: box {' '.join(texts)[:40]!r}, expected four whole numbers in 0..63.")
    x0, y0, x1, y1 = map(int, texts)
    return x0, y0, x1, y1


def _all_different(rows: list, where: str) -> list:
    if not rows or len({row[0] for row in rows}) < len(rows):
        raise DataError(f"{where}: {'names an image twice' if rows else 'is empty'}.")
    return rows
