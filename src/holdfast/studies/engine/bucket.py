"""Bucket: a run folder in S3, GCS or wherever else fsspec reaches; each machine works at a copy of its own.

    s3://bucket/run/cells/<kind>/<key>.<ending>        put there when a cell is finished,
    s3://bucket/run/cells/<kind>/<key>.record.json     and after it its record
    ~/.cache/holdfast/runs/<name>-<hash>/cells/...     the copy: what this machine has computed or needed

An object store writes a file whole or not at all, so what has a record there is whole. It has no locks: processes of
one machine share the locks of their copy, but two machines that are at the same cell both compute it, and put the same
bytes. Dask gives a cell to one worker at a time, so that this happens only where a worker was cut off and goes on.
"""

import hashlib
import re
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.studies.atomic import atomic
from holdfast.studies.manifest import RECORD

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

FRESH = 1.0  # seconds for which a listing is believed; at least ten times what it took


def is_address(run: object) -> bool:
    """Whether a run folder is named by an address such as "s3://bucket/run", and not by a path.

    >>> is_address("gs://lab/runs/paper"), is_address("runs/paper")
    (True, False)
    """
    return isinstance(run, str) and re.match(r"[a-z][a-z0-9+.-]+://", run) is not None


def copy_of(address: str) -> Path:
    """Where this machine's copy of a bucket lies: below the user's cache."""
    import pooch

    name = re.sub(r"[^\w.-]+", "-", address.partition("://")[2]).strip("-.")[-60:]
    return Path(pooch.os_cache("holdfast")) / "runs" / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"


@dataclass
class Bucket:
    """The files of a run folder in an object store.

    Attributes:
        address: such as "s3://bucket/run" or "gs://bucket/run".
        copy: this machine's copy.
    """

    address: str
    copy: Path
    _listed: set[str] = field(default_factory=set, repr=False)
    _until: float = field(default=0.0, repr=False)

    @cached_property
    def files(self) -> "tuple[AbstractFileSystem, str]":
        """The file system and the folder's path in it.

        Raises:
            ImportError: fsspec needs a package for this kind of address; it says which.
            ValueError: it knows no such kind.
        """
        from fsspec.core import url_to_fs

        try:
            return url_to_fs(self.address, use_listings_cache=False)
        except TypeError:  # the file system takes no such setting
            return url_to_fs(self.address)

    def has(self, name: str) -> bool:
        """Whether a stage has a record there."""
        if name not in self._listed and time.monotonic() > self._until:
            start = time.monotonic()
            self._listed = set(self._find())
            self._until = time.monotonic() + max(FRESH, 10 * (time.monotonic() - start))
        return name in self._listed

    def fetch(self, file: Path) -> None:
        """Copy a file to where it lies in the copy, if it is not there.

        Raises:
            FileNotFoundError: the bucket does not have it.
        """
        if not file.is_file():
            system, root = self.files
            with atomic(file) as partial:
                system.get_file(f"{root}/{file.relative_to(self.copy).as_posix()}", str(partial))

    def put(self, *files: Path) -> None:
        """Copy files of the copy into the bucket, in this order."""
        system, root = self.files
        for file in files:
            target = f"{root}/{file.relative_to(self.copy).as_posix()}"
            system.makedirs(target.rpartition("/")[0], exist_ok=True)
            system.put_file(str(file), target)
            if target.endswith(RECORD):
                self._listed.add(target[len(root) + 1 : -len(RECORD)])

    def forget(self, name: str) -> None:
        """Remove the record of a stage whose file is damaged, there and in the copy, and the copy of the file."""
        system, root = self.files
        if system.exists(record := f"{root}/{name}{RECORD}"):
            system.rm_file(record)
        self._listed.discard(name)

    def _find(self) -> list[str]:
        system, root = self.files
        try:
            found = system.find(f"{root}/cells")
        except FileNotFoundError:
            return []
        except Exception as error:  # each store has its own for a wrong name, a missing right, a network that is down
            reason = f"{type(error).__name__}: {error}"
            raise OSError(f"the run folder {self.address} cannot be reached ({reason}).") from error
        return [path[len(root) + 1 : -len(RECORD)] for path in found if path.endswith(RECORD)]
