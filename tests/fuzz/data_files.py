"""Data files and the archives they come in: intact inputs, how they are read, what must hold of what is accepted.

The embedded data files are real, the others are made in the real format.
"""

import functools
import gzip
import io
import json
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from mutations import Source
from PIL import Image

import holdfast
from holdfast.data.cifar import RECORD
from holdfast.data.idx import parse_idx, write_idx
from holdfast.data.tiny_imagenet import class_names, parse_annotations, parse_boxes, parse_wnids, read_tiny_imagenet
from holdfast.data.unpacking import Zip, read_tar

EMBEDDED = Path(holdfast.__file__).parent / "data"


def idx() -> list[Source]:
    real = [gzip.decompress(f.read_bytes()) for f in EMBEDDED.rglob("*idx1*.gz")] + [
        lzma.decompress(f.read_bytes()) for f in EMBEDDED.rglob("*idx1*.xz")
    ]
    images = write_idx(np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5))
    return [Source([content[:8] + content[8:300] for content in real] + [write_idx(np.zeros(9, np.uint8)), images])]


def read_idx(content: bytes) -> np.ndarray:
    return parse_idx(content, "fuzz", 3 if content[3:4] == b"\3" else 1)


def idx_holds(content: bytes, found: np.ndarray) -> None:
    assert write_idx(found) == content


def cifar() -> list[Source]:
    random = np.random.default_rng(0)
    record = lambda label: bytes([label]) + random.integers(256, size=RECORD - 1, dtype=np.uint8).tobytes()
    return [Source([record(3), record(9) + record(0)])]


def cifar_holds(content: bytes, found: tuple) -> None:
    images, labels = found
    assert len(images) == len(labels) == len(content) / RECORD
    assert labels.max() < 10


WNIDS = ("n01443537", "n01629819", "n02124075")
LISTS = {
    "wnids": b"n01443537\nn01629819\nn02124075\n",
    "words": b"n01443537\tgoldfish, Carassius auratus\nn01629819\tEuropean fire salamander\nn02124075\tEgyptian cat\n",
    "boxes": b"n01443537_0.JPEG\t0\t10\t63\t58\nn01443537_1.JPEG\t5\t7\t50\t9\n",
    "annotations": b"val_1.JPEG\tn01443537\t0\t1\t2\t3\nval_2.JPEG\tn02124075\t4\t5\t6\t5\n",
}


def lists() -> list[Source]:
    return [Source(list(LISTS.values()))]


def read_lists(content: bytes) -> list:
    """All four, since the same bytes are hostile to each; the first error ends it."""
    return [
        parse_wnids(content, "fuzz") if b"\t" not in content else (),
        class_names(content, "fuzz", WNIDS),
        parse_boxes(content, "fuzz") if content.count(b"\t") % 4 == 0 and b"\t" in content else [],
        parse_annotations(content, "fuzz", WNIDS) if content.count(b"\t") % 5 == 0 and b"\t" in content else [],
    ]


def lists_hold(content: bytes, found: list) -> None:
    wnids, names, boxes, annotations = found
    assert len(set(wnids)) == len(wnids)
    assert len(names) == len(WNIDS)
    assert all(0 <= n < 64 for row in (*boxes, *annotations) for n in row[-1])
    assert not any("/" in name or ".." in name for name in (*wnids, *(row[0] for row in (*boxes, *annotations))))


def xml() -> list[Source]:
    box = b"<bndbox><xmin>3</xmin><ymin>4.5</ymin><xmax>90</xmax><ymax>88</ymax></bndbox>"
    whole = b"<annotation><size><width>99</width><height>90</height></size>%s</annotation>"
    one = whole % (b"<object><name>n01</name>" + box + b"</object>")
    two = b'<?xml version="1.0"?>' + whole % (2 * (b"<object><name>n02</name>" + box + b"</object>"))
    laughs = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>'
    outside = b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'
    deep = b"<a>" * 3000 + b"</a>" * 3000
    texts = [one, two, laughs, outside, deep]
    return [Source([one, two]), Source([*texts, one.decode().encode("utf-16"), b"\xef\xbb\xbf" + one])]


def xml_holds(content: bytes, found: tuple) -> None:
    x0, y0, x1, y1, width, height = found
    assert 0 <= x0 <= x1 < 1e6
    assert 0 <= y0 <= y1 < 1e6
    assert 0 <= width < 1e6
    assert 0 <= height < 1e6
    assert b"<!DOCTYPE" not in content


@functools.cache
def jpeg(value: tuple[int, ...] = (90, 10, 200), mode: str = "RGB", size: tuple[int, int] = (64, 64)) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, value).save(file, "JPEG", quality=95)
    return file.getvalue()


def jpegs() -> list[Source]:
    return [Source([jpeg(), jpeg((7,), "L"), jpeg((9,), "L", (8, 8)), b"GIF89a" + bytes(30)])]


def jpeg_holds(content: bytes, found: np.ndarray) -> None:
    assert (found.shape, found.dtype) == ((64, 64, 3), np.uint8)


# Archives


CONTENT = bytes(range(256)) * 4
STREAMS = {".gz": functools.partial(gzip.compress, mtime=0), ".xz": lzma.compress}


def streams(suffix: str) -> list[Source]:
    pack = STREAMS[suffix]
    bomb = pack(bytes(1 << 22))
    return [Source([pack(CONTENT)]), Source([pack(CONTENT), pack(CONTENT) * 2, bomb, STREAMS[".gz"](CONTENT)])]


def stream_holds(content: bytes, found: bytes) -> None:
    assert found == CONTENT  # a packed stream carries a checksum


def tar_of(*members: tuple[str, bytes, dict]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:") as archive:
        for name, content, attributes in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            for attribute, value in attributes.items():
                setattr(header, attribute, value)
            archive.addfile(header, io.BytesIO(content))
    return file.getvalue()


def tars() -> list[Source]:
    link = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
    good = tar_of(("x/a", b"1", {}), ("x/b", b"22", {}))
    linked = tar_of(("a", b"", link), ("a", b"1", {}), ("b", b"22", {}))
    hard = tar_of(("a", b"", {"type": tarfile.LNKTYPE, "linkname": "../../b"}), ("b", b"22", {}))
    device = tar_of(("a", b"", {"type": tarfile.CHRTYPE}), ("b", b"22", {}))
    up = tar_of(("../../a", b"1", {}), ("b", b"22", {}))
    long = tar_of(("a" * 300, b"1", {}), ("é/b", b"22", {"mtime": 1.5}))
    pack = functools.partial(gzip.compress, compresslevel=1, mtime=0)
    whole = pack(good)
    bomb = pack(tar_of(("a", b"1", {}), ("b", b"22", {}), ("more", bytes(1 << 23), {})))
    return [Source([good, linked, hard, device, up, long], pack), Source([whole, whole + whole, bomb])]


def read_whole_tar(file: Path) -> dict[str, bytes]:
    return dict(read_tar(file, {"a": 1, "b": 2}))


def tar_holds(content: bytes, found: dict) -> None:
    assert {name: len(value) for name, value in found.items()} == {"a": 1, "b": 2}


MEMBERS = {"a": b"first" * 9, "x/b": b"second"}


def zip_of(members: dict[str, bytes], **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **{"compression": zipfile.ZIP_DEFLATED, **options}) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def zips() -> list[Source]:
    good = zip_of(MEMBERS)
    bomb = zip_of({"a": bytes(1 << 22)})
    liar = bytearray(good)
    liar[liar.index(b"PK\x01\x02") + 24 :][:4] = struct.pack("<I", 900)
    entry = zipfile.ZipInfo("a")
    entry.external_attr = 0o120777 << 16  # a symbolic link
    linked = io.BytesIO()
    with zipfile.ZipFile(linked, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    names = ["../a", "/a", "C:\\a", "a\\..\\..\\b", "x/../../a"]
    up = [zip_of({name: b"1"}) for name in names]
    return [Source([good]), Source([good, bomb, bytes(liar), linked.getvalue(), good + good, *up])]


def read_zip(content: bytes) -> dict[str, bytes]:
    with Zip(io.BytesIO(content), "fuzz") as archive:
        return {name: archive.read(name, 1000) for name in archive.names}


def zip_holds(content: bytes, found: dict) -> None:
    """Members have the length and the checksum that the directory announces, as Python's own reader sees it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        told = {member.filename: member for member in archive.infolist()}
    assert told.keys() == found.keys()
    for name, value in found.items():
        assert len(value) == told[name].file_size <= 1000
        assert zipfile.crc32(value) == told[name].CRC
        assert not name.startswith("/")
        assert ".." not in Path(name).parts


def tiny() -> list[Source]:
    """A whole Tiny ImageNet of one class, as JSON from names to texts, packed into a zip."""
    text = {
        "wnids.txt": "n01443537\n",
        "words.txt": "n01443537\tgoldfish\n",
        "train/n01443537/n01443537_boxes.txt": "n_0.JPEG\t0\t10\t63\t58\n",
        "train/n01443537/images/n_0.JPEG": "JPEG",
        "val/val_annotations.txt": "val_1.JPEG\tn01443537\t0\t1\t2\t3\n",
        "val/images/val_1.JPEG": "JPEG",
    }

    def pack(mutant: bytes) -> bytes:
        found = json.loads(mutant) if mutant.count(b"[") < 5000 else {}
        members = {}
        for name, value in found.items() if isinstance(found, dict) else ():
            value = value if isinstance(value, str) else json.dumps(value)
            name = "".join(c for c in name if c.isprintable() and ord(c) < 0xD800) or "none"
            members[name] = jpeg() if value == "JPEG" else value.encode(errors="replace")
        return zip_of(members, compression=zipfile.ZIP_STORED)

    intact = json.dumps(text).encode()
    return [Source([intact], pack, json=True), Source([pack(intact)])]


def read_tiny(content: bytes) -> Any:
    with Zip(io.BytesIO(content), "fuzz") as archive:
        return read_tiny_imagenet(archive)


def tiny_holds(content: bytes, found: Any) -> None:
    for split in (found.train, found.test):
        assert len(split.images) == len(split.labels) == len(split.boxes) > 0
        assert int(split.labels.max()) < len(found.classes)
