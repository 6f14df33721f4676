"""Folders with ILSVRC boxes, on a generated miniature of Imagenette."""

import numpy as np
import pytest
import torch

from holdfast.data import IMAGENETTE, DataError, read_box_folder
from holdfast.data.box_folder import parse_boxes_xml

ANNOTATION = """<annotation><folder>{name}</folder><size><width>{width}</width><height>{height}</height></size>
{objects}</annotation>"""
OBJECT = """<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
</object>"""


def annotation(name, width, height, *boxes):
    objects = "".join(OBJECT.format(*box, name=called) for called, *box in boxes)
    return ANNOTATION.format(name=name, width=width, height=height, objects=objects)


@pytest.fixture
def folder(tmp_path):
    """Two classes; a white rectangle on black marks the first object, columns 30 to 59 and rows 10 to 29."""
    from PIL import Image

    for name in ("n01", "n02"):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "boxes" / name).mkdir(parents=True)
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[10:30, 30:60] = 255
    for name in ("n01/a", "n01/b", "n02/c", "n02/d"):
        Image.fromarray(pixels).save(tmp_path / "val" / f"{name}.png")
    write = lambda name, text: (tmp_path / "boxes" / f"{name}.xml").write_text(text)
    write("n01/a", annotation("n01", 100, 40, ("n01", 31, 11, 60, 30), ("n01", 1, 1, 5, 5), ("n07", 1, 1, 100, 40)))
    write("n01/b", annotation("n01", 200, 80, ("n01", 61, 21, 120, 60)))  # of an original twice as large
    write("n02/c", annotation("n02", 100, 40, ("n02", 1, 1, 20, 40)))  # left of the middle square
    return tmp_path


def test_boxes_follow_the_pixels(folder):
    split, classes = read_box_folder(folder / "val", folder / "boxes", size=20)
    assert classes == ("n01", "n02")
    assert split.labels.tolist() == [0, 0, 1, 1]
    assert split.images.shape == (4, 3, 20, 20)
    # the square is columns 30 to 69, scaled to a half: columns 0 to 14, rows 5 to 14
    assert split.boxes[0].tolist() == split.boxes[1].tolist() == [0, 5, 14, 14]
    x0, y0, x1, y1 = split.boxes[0].tolist()
    inside = torch.zeros(20, 20, dtype=torch.bool)
    inside[y0 : y1 + 1, x0 : x1 + 1] = True
    assert (split.images[0, 0][inside] > 0.5).all()
    assert (split.images[0, 0][~inside] < 0.5).all()
    assert split.degenerate.tolist() == [False, False, True, True]  # outside the square; no annotation
    assert len(read_box_folder(folder / "val", folder / "boxes", size=20, per_class=1)[0]) == 2


def test_labels_are_those_of_the_network(folder):
    """Imagenette has ten of the thousand classes that a network of ImageNet tells apart."""
    for old, new in (("n01", "n01440764"), ("n02", "n03888257")):
        (folder / "val" / old).rename(folder / "val" / new)
        (folder / "boxes" / old).rename(folder / "boxes" / new)
    split, classes = read_box_folder(folder / "val", folder / "boxes", size=20, numbers=IMAGENETTE)
    assert classes == ("n01440764", "n03888257")
    assert split.labels.tolist() == [0, 0, 701, 701]
    with pytest.raises(DataError, match="numbers has no label for n03888257; give one for every folder"):
        read_box_folder(folder / "val", folder / "boxes", size=20, numbers={"n01440764": 0})


def test_what_is_wrong_is_said(folder):
    with pytest.raises(DataError, match="there is no folder"):
        read_box_folder(folder / "nowhere", folder / "boxes")
    with pytest.raises(DataError, match="holds no folders of images"):
        read_box_folder(folder / "boxes", folder / "boxes")
    (folder / "val" / "n01" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png: not an intact image"):
        read_box_folder(folder / "val", folder / "boxes", size=20)


def test_an_image_of_absurd_size_is_refused_unread(folder):
    """A PNG of some kilobytes with 70 million pixels."""
    from PIL import Image

    file = folder / "val" / "n01" / "a.png"
    Image.new("1", (10_000, 7_000)).save(file)
    assert file.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"a\.png: has 10,000 x 7,000 pixels, at most 67,108,864 are read"):
        read_box_folder(folder / "val", folder / "boxes", size=20)


BOMB = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB, "declares a document type or entities"),
        (BOMB.decode().encode("utf-16"), "declares a document type or entities"),
        (b"<annotation><object></annotation>", "not an intact XML file"),
        (b"<annotation></annotation>", "names no object"),
        (b"<a><object><bndbox><xmin>1</xmin></bndbox></object></a>", "no complete box"),
        (annotation("n", 9, 9, ("n", 5, 1, 4, 2)).encode(), "ends before it begins"),
        (annotation("n", 9, 9, ("n", "-5", 1, 4, 2)).encode(), "'-5' is no number of pixels"),
        (annotation("n", 9, 9, ("n", "1e9", 1, 4, 2)).encode(), "'1e9' is no number of pixels"),
    ],
)
def test_damaged_annotations(content, words):
    with pytest.raises(DataError, match=words):
        parse_boxes_xml(content, "a.xml")
