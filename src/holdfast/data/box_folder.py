"""Folders of images with ILSVRC boxes: Imagenette, or any cut of ImageNet to some classes.

    images/<class>/<image>.JPEG            one folder a class; classes in the order of their names
    annotations/<class>/<image>.xml        objects with boxes, in pixels of the original image, counted from 1

Labels count the folders; a network that knows more classes, such as one of ImageNet, counts them otherwise: `numbers`
says how, `IMAGENETTE` for Imagenette.

(Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", 2015; Imagenette: fastai.) An image is scaled
so that its shorter side has `size` pixels, and its middle square is cut out; its box is scaled and cut with it. Of
several objects of the class the largest box counts. An image without annotation, or whose box falls outside the square,
gets the box 0, 0, 0, 0, which `Split.degenerate` marks. Boxes counted from 0 with both ends included, as everywhere.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree

import numpy as np
import torch

from holdfast.checks import check_count
from holdfast.data.dataset import Split
from holdfast.data.errors import DataError
from holdfast.progress import track

LIMIT = 1 << 20  # bytes of one annotation
PIXELS = 1 << 26  # of one image; a file of some kilobytes can announce a billion
IMAGENETTE: Mapping[str, int] = MappingProxyType(  # folder -> its number among the 1,000 classes of ImageNet
    {
        "n01440764": 0,  # tench
        "n02102040": 217,  # English springer
        "n02979186": 482,  # cassette player
        "n03000684": 491,  # chain saw
        "n03028079": 497,  # church
        "n03394916": 566,  # French horn
        "n03417042": 569,  # garbage truck
        "n03425413": 571,  # gas pump
        "n03445777": 574,  # golf ball
        "n03888257": 701,  # parachute
    }
)
_ENDINGS = {".jpeg", ".jpg", ".png"}


def read_box_folder(
    images: str | os.PathLike,
    annotations: str | os.PathLike,
    *,
    size: int = 224,
    per_class: int | None = None,
    numbers: Mapping[str, int] | None = None,
) -> tuple[Split, tuple[str, ...]]:
    """Read a folder of classes with its boxes.

    Args:
        images: a folder with one folder of images a class, such as `imagenette2/val`.
        annotations: a folder with one folder of XML files a class, or with all XML files.
        size: pixels a side of the images returned.
        per_class: so many images of every class, the first by name; None for all.
        numbers: folder -> label, for networks that know more classes than there are folders; None counts the folders.

    Returns:
        The images `[N, 3, size, size]` with labels and boxes, and the names of the classes' folders.

    Raises:
        DataError: no such folder, no images, a folder without a number, a damaged image or a damaged annotation; the
            message says which.
    """
    call = "read_box_folder"
    check_count(call, "size", size)
    images, annotations = Path(images), Path(annotations)
    for folder in (images, annotations):
        if not folder.is_dir():
            raise DataError(f"{call}: there is no folder {folder}.")
    classes = tuple(sorted(entry.name for entry in images.iterdir() if entry.is_dir()))
    unknown = [name for name in classes if numbers is not None and name not in numbers]
    if unknown:
        raise DataError(f"{call}: numbers has no label for {', '.join(unknown[:5])}; give one for every folder.")
    files = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (images / name).iterdir() if path.suffix.lower() in _ENDINGS)
        files += [(label, path) for path in found[:per_class]]
    if not files:
        raise DataError(f"{call}: {images} holds no folders of images; expected one folder a class.")
    pixels, boxes = torch.empty(len(files), 3, size, size), torch.zeros(len(files), 4, dtype=torch.int64)
    for row, (label, path) in enumerate(track(files, "reading images")):
        shape = _read_image(path, size, pixels[row].numpy())
        where = [annotations / classes[label] / f"{path.stem}.xml", annotations / f"{path.stem}.xml"]
        for xml in where:
            if xml.is_file():
                box = parse_boxes_xml(_content(xml), str(xml), classes[label])
                boxes[row] = torch.tensor(_in_square(box, shape, size))
                break
    labels = torch.tensor([label if numbers is None else numbers[classes[label]] for label, _ in files])
    return Split(pixels, labels, boxes), classes


def parse_boxes_xml(content: bytes, where: str, name: str | None = None) -> tuple[float, float, float, float, int, int]:
    """The largest box of the objects called `name` (or of all where none is): x0, y0, x1, y1, and width and height.

    Coordinates as in the file; width and height of the image they refer to, 0 where the file does not say.

    >>> box = b"<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
    >>> parse_boxes_xml(b"<a><object>" + box + b"</object></a>", "a.xml")
    (3.0, 4.0, 9.0, 8.0, 0, 0)

    Raises:
        DataError: not XML, a document type or entities (never followed), no object, or a box that makes no sense.
    """
    if re.search(rb"<!\s*(DOCTYPE|ENTITY)", content, re.IGNORECASE) or b"\x00" in content:
        raise DataError(f"{where}: declares a document type or entities, which no annotation needs; not read.")
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise DataError(f"{where}: not an intact XML file: {error}.") from error
    objects = [o for o in root.iter("object") if name is None or o.findtext("name", "").strip() == name]
    boxes = [_box(o, where) for o in objects or root.iter("object")]
    if not boxes:
        raise DataError(f"{where}: names no object with a box.")
    width, height = (_number(root.findtext(f"size/{side}", "0"), where) for side in ("width", "height"))
    largest = max(boxes, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
    return *largest, int(width), int(height)


def _box(node: ElementTree.Element, where: str) -> tuple[float, float, float, float]:
    texts = [node.findtext(f"bndbox/{end}") for end in ("xmin", "ymin", "xmax", "ymax")]
    if any(text is None for text in texts):
        raise DataError(f"{where}: an object has no complete box.")
    x0, y0, x1, y1 = (_number(text, where) for text in texts)
    if x1 < x0 or y1 < y0:
        raise DataError(f"{where}: box {x0:g} {y0:g} {x1:g} {y1:g} ends before it begins.")
    return x0, y0, x1, y1


def _number(text: str, where: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text.strip()):
        raise DataError(f"{where}: {text.strip()[:40]!r} is no number of pixels.")
    return float(text)


def _content(path: Path) -> bytes:
    if path.stat().st_size > LIMIT:
        raise DataError(f"{path}: has {path.stat().st_size:,} bytes, an annotation has less than {LIMIT:,}.")
    return path.read_bytes()


def _read_image(path: Path, size: int, out: np.ndarray) -> tuple[int, int]:
    """Write the middle square of an image, scaled; its width and height in the file."""
    from PIL import Image

    try:
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            shape = image.size
            if shape[0] * shape[1] > PIXELS:
                raise DataError(f"{path}: has {shape[0]:,} x {shape[1]:,} pixels, at most {PIXELS:,} are read.")
            left, top, side = (shape[0] - min(shape)) / 2, (shape[1] - min(shape)) / 2, min(shape)
            square = (left, top, left + side, top + side)
            scaled = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=square)
    except DataError:
        raise
    except Exception as error:  # a decoder of another library: whatever it raises, the image is not readable
        raise DataError(f"{path}: not an intact image: {error}.") from error
    np.divide(np.asarray(scaled).transpose(2, 0, 1), np.float32(255), out=out)
    return shape


def _in_square(
    box: tuple[float, float, float, float, int, int], shape: tuple[int, int], size: int
) -> tuple[int, int, int, int]:
    """The box in pixels of the scaled square; zeros where it lies outside or has no two pixels a side."""
    x0, y0, x1, y1, width, height = box
    width, height = width or shape[0], height or shape[1]  # some annotations refer to a larger original
    side = min(shape)
    edges = []
    for low, high, told, real in ((x0, x1, width, shape[0]), (y0, y1, height, shape[1])):
        first, last = (low - 1) * real / told, high * real / told  # edges of the box, from 0
        first, last = ((edge - (real - side) / 2) * size / side for edge in (first, last))
        edges.append((max(0, round(first)), min(size, round(last)) - 1))
    (left, right), (top, bottom) = edges
    return (left, top, right, bottom) if left < right and top < bottom else (0, 0, 0, 0)
