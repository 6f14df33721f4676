"""Reading packed files without trusting them: every size is bounded, every failure is a DataError that says why.

Nothing is ever written to disk: archives are read in memory, so a hostile member name cannot reach a file.
"""

import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from holdfast.data.errors import DataError

SLACK = 1 << 20  # a packed file of incompressible bytes is a little larger than its content
XZ_MEMORY = 256 << 20  # what `xz -9` needs is 65 MiB; a hostile header may ask for 4 GiB
ZIP_MEMBERS, ZIP_TOTAL = 500_000, 1 << 30  # the official Tiny ImageNet has 120,609 members in under 300 MB


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Turn whatever the standard library's readers raise on bad bytes into a DataError about `where`."""
    try:
        yield
    except DataError:
        raise
    except (
        OSError, EOFError, ValueError, LookupError, OverflowError, RuntimeError, AssertionError, TypeError,
        zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError,
    ) as error:  # fmt: skip
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{where}: cannot be read: {reason}.") from error


def read_content(path: Path, size: int) -> bytes:
    """The content of a file, unpacked where its name ends in `.gz` or `.xz`; it must have exactly `size` bytes."""
    where = str(path)
    with readable(where), open(path, "rb") as file:
        packed = file.read(size + SLACK + 1)
    if path.suffix not in (".gz", ".xz"):
        content = packed
    elif len(packed) > size + SLACK:
        raise DataError(f"{where}: the file is larger than its {size:,} bytes of content could be.")
    else:
        content = unpack(packed, path.suffix, where, size)
    if len(content) != size:
        found = f"more than {size:,}" if len(content) > size else f"{len(content):,}"
        raise DataError(f"{where}: holds {found} bytes, expected {size:,}.")
    return content


def unpack(packed: bytes, suffix: str, where: str, limit: int) -> bytes:
    """Unpack one `.gz` or `.xz` stream of at most `limit` bytes of content.

    Raises:
        DataError: not such a stream, damaged, ending too early, followed by other bytes, or larger than `limit`.

    >>> import gzip
    >>> unpack(gzip.compress(b"abc"), ".gz", "a file", 3)
    b'abc'
    """
    name = {".gz": "gzip", ".xz": "xz"}[suffix]
    try:
        stream = zlib.decompressobj(wbits=31) if suffix == ".gz" else lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY)
        content = stream.decompress(packed, limit + 1)
    except (zlib.error, lzma.LZMAError, EOFError, ValueError) as error:
        raise DataError(f"{where}: not an intact {name} file: {error}.") from error
    if len(content) > limit:
        raise DataError(f"{where}: unpacks to more than {limit:,} bytes, which is all it should hold.")
    if not stream.eof:
        raise DataError(f"{where}: the {name} stream ends too early ({len(packed):,} bytes): the file is truncated.")
    if stream.unused_data:
        raise DataError(f"{where}: {len(stream.unused_data):,} bytes follow the end of the {name} stream.")
    return content


def read_tar(path: Path, sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """The wanted members of a `.tar.gz`, in the order of the archive.

    Args:
        path: the archive.
        sizes: base names of the wanted members and the exact size of each.

    Raises:
        DataError: damaged, truncated, a member missing, twice or of another size, or more bytes than they explain.
    """
    where = str(path)
    missing = dict(sizes)
    bound = sum(sizes.values()) + SLACK
    with readable(where), open(path, "rb") as raw:
        unpacked = io.BufferedReader(_BoundedGzip(raw, where, bound), 1 << 16)
        with tarfile.open(fileobj=unpacked, mode="r|") as archive:
            for member in archive:
                _check_member_name(member.name, where)
                name = PurePosixPath(member.name).name
                if not member.isfile() or name not in sizes:
                    continue
                if name not in missing or member.size != sizes[name]:
                    fault = "comes twice" if name not in missing else f"has {member.size:,} bytes"
                    raise DataError(f"{where}: {member.name} {fault}, expected once with {sizes[name]:,} bytes.")
                del missing[name]
                yield name, _exactly(archive.extractfile(member), sizes[name], f"{where}: {member.name}")
        while unpacked.read(1 << 16):  # to the end of the stream, where gzip keeps its checksum
            pass
    if missing:
        raise DataError(f"{where}: lacks {', '.join(missing)}; the archive is not the one its name says, or truncated.")


class Zip:
    """A zip archive that has been looked over: members by name, each read with a bound on its size.

    Raises:
        DataError: no zip archive, a member name that leaves the archive's folder, an absurd number of members, an
            absurd expanded size, or a kind of packing other than deflate.
    """

    def __init__(self, file: Path | IO[bytes], where: str) -> None:
        self.where = where
        with readable(where):
            self._archive = zipfile.ZipFile(file)
        try:
            self._members = {member.filename: member for member in _sound_members(self._archive, where)}
        except DataError:
            self.close()
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members."""
        return tuple(self._members)

    def read(self, name: str, limit: int) -> bytes:
        """A member of at most `limit` bytes."""
        if name not in self._members:
            raise DataError(f"{self.where}: lacks {name}.")
        member = self._members[name]
        if member.file_size > limit:
            raise DataError(f"{self.where}: {name} has {member.file_size:,} bytes, expected at most {limit:,}.")
        with readable(f"{self.where}: {name}"), self._archive.open(member) as file:
            return _exactly(file, member.file_size, f"{self.where}: {name}")

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def __enter__(self) -> "Zip":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _sound_members(archive: zipfile.ZipFile, where: str) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    for member in members:
        _check_member_name(member.orig_filename, where)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{where}: {member.filename} is packed in a way other than deflate; refused.")
    total = sum(member.file_size for member in members)
    if len(members) > ZIP_MEMBERS or total > ZIP_TOTAL:
        raise DataError(
            f"{where}: {len(members):,} members of {total:,} bytes when unpacked, which no data set here has "
            f"(at most {ZIP_MEMBERS:,} members and {ZIP_TOTAL:,} bytes); refused."
        )
    return members


class _BoundedGzip(io.RawIOBase):
    """The content of a gzip stream, ending in a DataError where it is longer than `bound`, damaged or truncated."""

    def __init__(self, raw: IO[bytes], where: str, bound: int) -> None:
        self._raw, self._where, self._left = raw, where, bound
        self._stream = zlib.decompressobj(wbits=31)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        chunk = b""
        while not chunk and not self._stream.eof:
            packed = self._stream.unconsumed_tail or self._raw.read(1 << 18)
            if not packed:
                raise DataError(f"{self._where}: the gzip stream ends too early: the file is truncated.")
            chunk = self._stream.decompress(packed, len(buffer))
        self._left -= len(chunk)
        if self._left < 0:
            raise DataError(f"{self._where}: unpacks to more bytes than the data set has; refused.")
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _exactly(file: IO[bytes] | None, size: int, where: str) -> bytes:
    content = b"" if file is None else file.read(size + 1)
    if len(content) != size:
        raise DataError(f"{where}: holds {len(content):,} bytes where {size:,} are announced.")
    return content


def _check_member_name(name: str, where: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or ":" in name or "\0" in name:
        raise DataError(f"{where}: the member name {name!r} leads out of the archive; refused.")
