"""Checkpoints: every trajectory on disk as soon as it is done, so that a chain that is killed loses at most one.

    warm-up-00007.safetensors    the two latest of the warm-up, each with the records of the whole warm-up
    draw-00000.safetensors       one for every kept draw, with the record of its trajectory

A file holds the chains' positions, what the sampler needs to go on, and a checksum over both. It is written beside its
place and then moved there: whole or absent. A file that is damaged all the same is thrown away with a warning and
computed again: chains draw their noise by number, so it gets the same bytes.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

KEPT_OF_WARM_UP = 2


class DamagedCheckpoint(UserWarning):
    """A checkpoint cannot be read; the chain goes on from the one before it."""


class Checkpoints:
    """The checkpoints of one stack of chains.

    Args:
        folder: where they are; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, kind: str, number: int, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> Path:
        """Write the checkpoint of a trajectory, "warm-up" or "draw".

        Raises:
            OSError: the disk is full or the folder cannot be written; everything finished before stays.
        """
        file = self._file(kind, number)
        partial = file.with_name(f".{file.name}.partial")
        text = json.dumps(record, sort_keys=True)
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        try:
            save_file(tensors, partial, {"checkpoint": json.dumps([text, _checksum(tensors, text)])})  # one entry:
            # the order of several is not fixed, nor would be the bytes
            with partial.open("rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(partial, file)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise OSError(
                f"inference.hmc: the checkpoint {file} could not be written ({error}); what was finished before is "
                "kept: make room, and call again with the same folder to go on."
            ) from error
        if kind == "warm-up" and number >= KEPT_OF_WARM_UP:
            self._file(kind, number - KEPT_OF_WARM_UP).unlink(missing_ok=True)
        return file

    def read(
        self, kind: str, number: int, before: str | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """A checkpoint's tensors and record; None where it is absent, and with a warning where it is damaged.

        Args:
            kind: "warm-up" or "draw".
            number: of the file.
            before: checksum of the position from which its trajectory must have started.
        """
        file = self._file(kind, number)
        if not file.exists():
            return None
        try:
            with safe_open(file, "pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118, not a dict
                text, checksum = json.loads((opened.metadata() or {})["checkpoint"])
            if checksum != _checksum(tensors, text):
                raise ValueError("its checksum differs")
            record = json.loads(text)
            if before is not None and record["before"] != before:
                raise ValueError("it does not follow the draw before it")
            return tensors, record
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            warnings.warn(f"{file} is damaged ({error}); it is computed again.", DamagedCheckpoint, stacklevel=3)
            file.unlink()
            return None

    def latest_warm_up(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and record of the latest whole checkpoint of the warm-up."""
        for file in sorted(self.folder.glob("warm-up-*.safetensors"), reverse=True):
            found = self.read("warm-up", int(file.stem.rpartition("-")[2]))
            if found is not None:
                return found
        return None

    def _file(self, kind: str, number: int) -> Path:
        return self.folder / f"{kind}-{number:05d}.safetensors"


def checksum(z: Tensor) -> str:
    """The sha256 of a position."""
    return _checksum({"z": z.cpu()}, "")


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
