"""Packed files: damage, truncation, bombs, hostile names; nothing but DataError gets out."""

import gzip
import io
import lzma
import random
import struct
import tarfile
import tracemalloc
import zipfile

import pytest

from holdfast.data import DataError
from holdfast.data.unpacking import Zip, read_content, read_tar, unpack

CONTENT = random.Random(0).randbytes(3_000) + bytes(3_000)
PACKED = {".gz": gzip.compress(CONTENT, mtime=0), ".xz": lzma.compress(CONTENT)}


def zip_bytes(members, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **{"compression": zipfile.ZIP_DEFLATED, **options}) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def tar_bytes(members, mode="w:gz"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_intact_streams_are_unpacked(suffix, tmp_path):
    assert unpack(PACKED[suffix], suffix, "file", len(CONTENT)) == CONTENT
    path = tmp_path / f"file{suffix}"
    path.write_bytes(PACKED[suffix])
    assert read_content(path, len(CONTENT)) == CONTENT
    (tmp_path / "file").write_bytes(CONTENT)
    assert read_content(tmp_path / "file", len(CONTENT)) == CONTENT


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_what_is_wrong_with_a_stream_is_named(suffix):
    packed = PACKED[suffix]
    with pytest.raises(DataError, match=r"file: the \w+ stream ends too early .* truncated"):
        unpack(packed[:-10], suffix, "file", len(CONTENT))
    with pytest.raises(DataError, match="file: 3 bytes follow the end"):
        unpack(packed + b"abc", suffix, "file", len(CONTENT))
    with pytest.raises(DataError, match="file: unpacks to more than 5,999 bytes"):
        unpack(packed, suffix, "file", 5_999)
    with pytest.raises(DataError, match="file: not an intact"):
        unpack(b"<html>404</html>", suffix, "file", 10)
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 1
    with pytest.raises(DataError, match="file: "):
        unpack(bytes(damaged), suffix, "file", len(CONTENT))


def test_a_bomb_takes_no_memory():
    bomb = {".gz": gzip.compress(bytes(50_000_000)), ".xz": lzma.compress(bytes(50_000_000))}
    tracemalloc.start()
    for suffix, packed in bomb.items():
        with pytest.raises(DataError, match="more than 1,000 bytes"):
            unpack(packed, suffix, "bomb", 1_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000  # the window of xz is 8 MB; the bombs hold 50


def test_files_of_another_size_are_refused(tmp_path):
    path = tmp_path / "plain"
    path.write_bytes(b"abc")
    with pytest.raises(DataError, match=r"plain: holds 3 bytes, expected 4"):
        read_content(path, 4)
    path.write_bytes(bytes(10))
    with pytest.raises(DataError, match=r"plain: holds more than 4 bytes, expected 4"):
        read_content(path, 4)
    large = tmp_path / "large.gz"
    large.write_bytes(bytes(2_000_000))
    with pytest.raises(DataError, match=r"large.gz: the file is larger than its 4 bytes of content could be"):
        read_content(large, 4)
    with pytest.raises(DataError, match="absent: cannot be read: No such file"):
        read_content(tmp_path / "absent", 4)


def test_tar_members_are_read_wherever_they_lie(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tar_bytes([("x/readme.html", b"hello"), ("x/b", b"22"), ("x/a", b"1")]))
    assert list(read_tar(path, {"a": 1, "b": 2})) == [("b", b"22"), ("a", b"1")]


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([("a", b"1")], "lacks b"),
        ([("a", b"1"), ("b", b"333")], "b has 3 bytes, expected once with 2 bytes"),
        ([("a", b"1"), ("x/a", b"1"), ("b", b"22")], "x/a comes twice"),
        ([("../a", b"1"), ("b", b"22")], "member name '../a' leads out of the archive"),
        ([("/a", b"1"), ("b", b"22")], "member name '/a' leads out of the archive"),
        ([("a", b"1"), ("b", b"22"), ("more", bytes(3_000_000))], "unpacks to more bytes than the data set has"),
    ],
)
def test_what_is_wrong_with_a_tar_is_named(tmp_path, members, fault):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tar_bytes(members))
    with pytest.raises(DataError, match=fault):
        list(read_tar(path, {"a": 1, "b": 2}))


def test_a_damaged_end_of_a_tar_is_noticed(tmp_path):
    """The checksum of gzip comes after the last member: the archive is read to its end."""
    path = tmp_path / "a.tar.gz"
    good = tar_bytes([("a", b"1"), ("b", b"22")])
    for bad in (good[:-4], good[:-8] + bytes(8), good[: len(good) // 2]):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"a\.tar\.gz: "):
            list(read_tar(path, {"a": 1, "b": 2}))


def test_zip_members_are_read():
    with Zip(io.BytesIO(zip_bytes({"x/a": b"1", "b": b"22"})), "z") as archive:
        assert archive.names == ("x/a", "b")
        assert archive.read("b", 2) == b"22"
        with pytest.raises(DataError, match="z: lacks c"):
            archive.read("c", 2)
        with pytest.raises(DataError, match="z: b has 2 bytes, expected at most 1"):
            archive.read("b", 1)


@pytest.mark.parametrize("name", ["../a", "x/../../a", "/etc/a", "..\\a", "\\a", "C:\\a", "c:/a"])
def test_a_zip_with_path_traversal_is_refused(name):
    with pytest.raises(DataError, match=r"z: the member name .* leads out of the archive; refused"):
        Zip(io.BytesIO(zip_bytes({"ok": b"", name: b"1"})), "z")


def test_a_zip_of_absurd_size_is_refused():
    """The directory of a small zip can announce any size: two members of 600 MB."""
    content = bytearray(zip_bytes({"a": bytes(100), "b": bytes(100)}))
    for place in (i for i in range(len(content)) if content[i : i + 4] == b"PK\x01\x02"):
        content[place + 24 : place + 28] = struct.pack("<I", 600_000_000)
    with pytest.raises(DataError, match="2 members of 1,200,000,000 bytes when unpacked"):
        Zip(io.BytesIO(bytes(content)), "z")


def test_a_zip_that_lies_about_a_size_is_refused():
    content = bytearray(zip_bytes({"a": bytes(100_000)}))
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 50)
    with Zip(io.BytesIO(bytes(content)), "z") as archive, pytest.raises(DataError, match="z: a"):
        archive.read("a", 1_000)


def test_other_packings_and_other_files_are_refused():
    with pytest.raises(DataError, match="packed in a way other than deflate"):
        Zip(io.BytesIO(zip_bytes({"a": b"1"}, compression=zipfile.ZIP_BZIP2)), "z")
    with pytest.raises(DataError, match="z: cannot be read: File is not a zip file"):
        Zip(io.BytesIO(b"<html>"), "z")
