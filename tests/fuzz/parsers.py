"""Every parser of the package that reads what others wrote: what it may raise, and what it is fed.

One more parser is one more line of `PARSERS`. Its inputs come from `data_files.py` or `run_files.py`.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data_files
import run_files
from mutations import Source

from holdfast.data import DataError
from holdfast.data.box_folder import parse_boxes_xml
from holdfast.data.cifar import parse_cifar
from holdfast.data.tiny_imagenet import decode_image
from holdfast.data.unpacking import unpack
from holdfast.inference.hmc.checkpoints import DamagedCheckpoint
from holdfast.studies.reproduce.claim import Claims
from holdfast.studies.reproduce.rules import Scale
from holdfast.studies.reproduce.study import Study

Errors = type[Exception] | tuple[type[Exception], ...]


@dataclass(frozen=True)
class Parser:
    """A parser under test.

    Attributes:
        read: takes the bytes; returns what it made of them or raises one of `errors`, nothing else.
        errors: documented.
        sources: makes where its inputs come from.
        holds: asserts what must be true of an input that was accepted.
    """

    read: Callable[[bytes], Any]
    errors: Errors
    sources: Callable[[], Sequence[Source]]
    holds: Callable[[bytes, Any], None] = lambda content, found: None


def in_file(read: Callable[[Path], Any], name: str) -> Callable[[bytes], Any]:
    """A parser of files as one of bytes. Each gets a file of its own: what is mapped into memory must not change."""

    def read_bytes(content: bytes) -> Any:
        with tempfile.TemporaryDirectory(dir=SHARED) as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            return read(file)

    return read_bytes


SHARED = "/dev/shm" if os.path.isdir("/dev/shm") else None

PARSERS: dict[str, Parser] = {
    "IDX": Parser(data_files.read_idx, DataError, data_files.idx, data_files.idx_holds),
    "CIFAR-10 records": Parser(lambda c: parse_cifar(c, "fuzz"), DataError, data_files.cifar, data_files.cifar_holds),
    "Tiny ImageNet lists and boxes": Parser(data_files.read_lists, DataError, data_files.lists, data_files.lists_hold),
    "Tiny ImageNet zip": Parser(data_files.read_tiny, DataError, data_files.tiny, data_files.tiny_holds),
    "boxes in XML": Parser(lambda c: parse_boxes_xml(c, "fuzz"), DataError, data_files.xml, data_files.xml_holds),
    "JPEG": Parser(lambda c: decode_image(c, "fuzz"), DataError, data_files.jpegs, data_files.jpeg_holds),
    "gzip stream": Parser(
        lambda c: unpack(c, ".gz", "fuzz", 1024), DataError, lambda: data_files.streams(".gz"), data_files.stream_holds
    ),
    "xz stream": Parser(
        lambda c: unpack(c, ".xz", "fuzz", 1024), DataError, lambda: data_files.streams(".xz"), data_files.stream_holds
    ),
    "tar archive": Parser(
        in_file(data_files.read_whole_tar, "a.tar.gz"), DataError, data_files.tars, data_files.tar_holds
    ),
    "zip archive": Parser(data_files.read_zip, DataError, data_files.zips, data_files.zip_holds),
    "bank": Parser(in_file(run_files.read_bank, "bank.safetensors"), ValueError, run_files.banks, run_files.bank_holds),
    "state dicts": Parser(in_file(run_files.read_state_dicts, "x.pt"), ValueError, run_files.state_dicts),
    "Pyro store": Parser(in_file(run_files.read_pyro_store, "x.pt"), ValueError, run_files.pyro_stores),
    "HMC checkpoint": Parser(
        in_file(run_files.read_checkpoint, "draw-00000.safetensors"), DamagedCheckpoint, run_files.checkpoints
    ),
    "manifest of a run": Parser(
        in_file(run_files.read_manifest_file, "manifest.json"), ValueError, run_files.manifests, run_files.look_holds
    ),
    "record of a stage": Parser(
        in_file(run_files.read_record_file, "c.record.json"), ValueError, run_files.records, run_files.look_holds
    ),
    "study": Parser(
        in_file(run_files.read_declaration(Study), "a.toml"),
        ValueError,
        lambda: run_files.declarations("library"),
        run_files.study_holds,
    ),
    "claims": Parser(
        in_file(run_files.read_declaration(Claims), "a.toml"), ValueError, lambda: run_files.declarations("claims")
    ),
    "rules": Parser(
        in_file(run_files.read_declaration(Scale), "a.toml"), ValueError, lambda: run_files.declarations("scales")
    ),
    "memory size": Parser(run_files.read_size, ValueError, run_files.sizes),
}
