"""Tiny ImageNet: order, labels, boxes, grey images, what is wrong with a zip; the real cut."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from holdfast.data import DataError, load, verify
from holdfast.data.tiny_imagenet import (
    read_tiny_imagenet,
)
from holdfast.data.unpacking import Zip

WNIDS = ("n02", "n01", "n03")
ROOT = "tiny-imagenet-200/"


def jpeg(value, mode="RGB", size=(64, 64)):
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, "JPEG", quality=95)
    return file.getvalue()


def members():
    """Three classes of two training and one test image each; every image of one colour."""
    files = {
        "wnids.txt": "\n".join(WNIDS).encode() + b"\n",
        "words.txt": b"n01\tgoldfish, Carassius auratus\nn02\tcrane\nn03\tcrane, machine\nn09\tnot here\n",
        "test/images/test_0.JPEG": jpeg((1, 2, 3)),
    }
    for label, wnid in enumerate(WNIDS):
        files[f"train/{wnid}/{wnid}_boxes.txt"] = (
            f"{wnid}_1.JPEG\t0\t10\t63\t58\n{wnid}_0.JPEG\t{label}\t7\t{label}\t9\n".encode()
        )
        files[f"train/{wnid}/images/{wnid}_0.JPEG"] = jpeg(40 * label, "L")
        files[f"train/{wnid}/images/{wnid}_1.JPEG"] = jpeg((200, 40 * label, 0))
        files[f"val/images/val_{label}.JPEG"] = jpeg((0, 0, 100 + 40 * label))
    files["val/val_annotations.txt"] = (
        b"val_1.JPEG\tn01\t0\t1\t2\t3\nval_2.JPEG\tn03\t4\t5\t6\t5\nval_0.JPEG\tn02\t7\t7\t8\t8\n"
    )
    return files


def archive(files, root=ROOT, mode="w"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, mode, zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(root + name, content)
    return file.getvalue()


def read(content):
    with Zip(io.BytesIO(content), "tiny.zip") as opened:
        return read_tiny_imagenet(opened)


def test_order_labels_boxes_and_grey_images():
    data = read(archive(members()))
    assert data.classes == ("crane (n02)", "goldfish", "crane (n03)")
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.train.boxes.tolist()[:3] == [[0, 10, 63, 58], [0, 7, 0, 9], [0, 10, 63, 58]]
    assert data.train.degenerate.tolist() == [False, True] * 3
    assert data.test.labels.tolist() == [1, 2, 0]
    assert data.test.boxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 5], [7, 7, 8, 8]]
    assert data.test.degenerate.tolist() == [False, True, False]
    assert data.train.images.shape == (6, 3, 64, 64)
    colours = (data.train.images.mean(dim=(2, 3)) * 255).round()
    expected = torch.tensor([[c, g, b] for k in range(3) for c, g, b in ((200, 40 * k, 0), (40 * k,) * 3)])
    assert (colours - expected).abs().max() <= 2  # JPEG
    blue = data.test.images.mean(dim=(2, 3))[:, 2] * 255
    assert (blue - torch.tensor([140.0, 180.0, 100.0])).abs().max() <= 2


def test_rows_are_rows_and_columns_are_columns():
    picture = Image.new("RGB", (64, 64))
    picture.paste((255, 0, 0), (0, 0, 64, 16))  # a red band along the upper edge
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95)
    image = read(archive(members() | {"val/images/val_1.JPEG": file.getvalue()})).test.images[0]
    assert image[0, :14].min() > 0.9
    assert image[0, 18:].max() < 0.1
    assert image[1:].max() < 0.1


def test_the_checksum_changes_with_any_image_label_or_box():
    sums = {read(archive(members())).checksum}
    for name, content in (
        ("val/images/val_0.JPEG", jpeg((0, 0, 101))),
        ("train/n02/images/n02_0.JPEG", jpeg((9, 9, 9))),
        ("train/n02/n02_boxes.txt", b"n02_1.JPEG\t0\t10\t63\t57\nn02_0.JPEG\t0\t7\t0\t9\n"),
        (
            "val/val_annotations.txt",
            members()["val/val_annotations.txt"].replace(b"val_1.JPEG\tn01", b"val_1.JPEG\tn02"),
        ),
    ):
        sums.add(read(archive(members() | {name: content})).checksum)
    assert len(sums) == 5
    assert read(archive(members(), root="elsewhere/")).checksum in sums


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"train/n01/images/n01_0.JPEG": None}, "tiny.zip: lacks tiny-imagenet-200/train/n01/images/n01_0.JPEG"),
        ({"train/n01/n01_boxes.txt": None}, "lacks tiny-imagenet-200/train/n01/n01_boxes.txt"),
        ({"wnids.txt": None}, "has 0 files wnids.txt, expected one; not a Tiny ImageNet zip"),
        ({"more/wnids.txt": b"n01"}, "has 2 files wnids.txt"),
        ({"wnids.txt": b"n01\n\nn02"}, "wnids.txt, line 2: '' is no class identifier"),
        ({"wnids.txt": b"../n01"}, "wnids.txt, line 1: '../n01' is no class identifier"),
        ({"wnids.txt": b"n01\nn01"}, "wnids.txt: names a class twice"),
        ({"wnids.txt": b""}, "wnids.txt: is empty"),
        ({"words.txt": b"\xff\xfe"}, "words.txt: cannot be read: 'utf-8'"),
        (
            {"train/n01/n01_boxes.txt": b"a.JPEG\t1\t2\t3"},
            "n01_boxes.txt, line 1: 4 fields, expected an image name",
        ),
        ({"train/n01/n01_boxes.txt": b"a.JPEG\t1\t2\t3\t64"}, "line 1: box '1 2 3 64', expected four whole numbers in"),
        ({"train/n01/n01_boxes.txt": b"a.JPEG\t-1\t2\t3\t4"}, "line 1: box '-1 2 3 4'"),
        ({"train/n01/n01_boxes.txt": b"../a\t1\t2\t3\t4"}, "line 1: '../a' is no image name"),
        ({"train/n01/n01_boxes.txt": b""}, "n01_boxes.txt: is empty"),
        ({"train/n01/n01_boxes.txt": b"a\t1\t2\t3\t4\na\t1\t2\t3\t4"}, "n01_boxes.txt: names an image twice"),
        (
            {"val/val_annotations.txt": b"a\tn77\t1\t2\t3\t4"},
            "line 1: expected an image name, a class of wnids.txt",
        ),
        ({"val/images/val_1.JPEG": jpeg(9, "L", (32, 64))}, "val_1.JPEG: is 32 x 64 pixels, expected 64 x 64"),
        ({"val/images/val_1.JPEG": jpeg((9, 9, 9))[:-40]}, "val_1.JPEG: not an intact JPEG: .*truncated"),
        ({"val/images/val_1.JPEG": b"GIF89a"}, "val_1.JPEG: not an intact JPEG: cannot identify"),
        ({"val/images/val_1.JPEG": bytes(1_100_000)}, "val_1.JPEG has 1,100,000 bytes, expected at most 1,048,576"),
    ],
)
def test_what_is_wrong_is_named(change, fault):
    files = {name: content for name, content in (members() | change).items() if content is not None}
    with pytest.raises(DataError, match=fault):
        read(archive(files))


def test_a_flipped_bit_and_a_cut_are_noticed():
    content = archive(members())
    place = content.index(b"val_1.JPEG") + 40
    with pytest.raises(DataError, match=r"tiny\.zip"):
        read(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
    with pytest.raises(DataError, match=r"tiny\.zip: cannot be read"):
        read(content[: len(content) // 2])


def test_the_real_cut(data_dir):
    if not (data_dir / "tiny-imagenet" / "tiny-imagenet-20.zip").is_file():
        pytest.skip("tiny-imagenet-20.zip is not there")
    data = load("tiny-imagenet", data_dir=data_dir, download=False)
    assert (len(data.train), len(data.test), data.shape, len(data.classes)) == (10_000, 1_000, (3, 64, 64), 20)
    assert data.classes[:3] == ("basketball", "parking meter", "monarch")
    assert data.train.labels.bincount().tolist() == [500] * 20
    assert data.test.labels.bincount().tolist() == [50] * 20
    assert int(data.train.degenerate.sum()) == 78
    assert (int(data.train.boxes.min()), int(data.train.boxes.max())) == (0, 63)
    grey = sum(
        int(
            (split.images[:, 0] == split.images[:, 1])
            .flatten(1)
            .all(1)
            .logical_and((split.images[:, 1] == split.images[:, 2]).flatten(1).all(1))
            .sum()
        )
        for split in (data.train, data.test)
    )
    with zipfile.ZipFile(data_dir / "tiny-imagenet" / "tiny-imagenet-20.zip") as packed:
        modes = [Image.open(io.BytesIO(packed.read(n))).mode for n in packed.namelist() if n.endswith("JPEG")]
        assert grey >= modes.count("L") == 160  # a colour JPEG may show a grey scene
        rows = [line.split("\t") for line in packed.read(f"{ROOT}val/val_annotations.txt").decode().splitlines()]
        for number in (0, 1, 500, 999):
            image = Image.open(io.BytesIO(packed.read(f"{ROOT}val/images/{rows[number][0]}"))).convert("RGB")
            expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
            assert torch.equal(data.test.images[number], expected)
            assert data.test.boxes[number].tolist() == [int(v) for v in rows[number][2:]]


def test_verify_tells_a_cut_from_the_official_zip(tmp_path):
    path = tmp_path / "tiny-imagenet-3.zip"
    path.write_bytes(archive(members()))
    (check,) = verify("tiny-imagenet", data_dir=tmp_path)
    assert (check.status, check.good, check.file) == ("same content", True, str(path))
    assert "a cut: 9 images" in check.note
    path.write_bytes(archive(members() | {"val/images/val_1.JPEG": b"no image"}))
    (check,) = verify("tiny-imagenet", data_dir=tmp_path)
    assert (check.status, check.good) == ("damaged", False)
    assert "val_1.JPEG: not an intact JPEG" in check.note
    with pytest.raises(DataError, match=r"not an intact JPEG.*Remove that file from .*put by hand into"):
        load("tiny-imagenet", data_dir=tmp_path)
