"""Home: the folder of a run, where its fits and checkpoints are, and the manifest that says what run it is of.

manifest.json           settings, network, fingerprints of images, labels and buffers; by which versions it was begun
start.safetensors       the fits from which the chains start
approach.safetensors    where stochastic gradients have led from them
chains-00-01/           checkpoints of a stack of chains, see `checkpoints`; of stacked cells chains-of-cells/
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

import holdfast
from holdfast.data.dataset import Split
from holdfast.ensemble import Ensemble, check_path
from holdfast.inference.fingerprint import fingerprint
from holdfast.inference.hmc.checkpoints import DamagedCheckpoint

CALL = "inference.hmc"
VERSIONS = {"holdfast": holdfast.__version__, "torch": str(torch.__version__)}


class OtherVersions(UserWarning):
    """A folder was begun by other versions: the chains go on from it, but not with the bytes that either would give."""


@contextmanager
def home_of(
    folder: str | os.PathLike | None, settings: dict[str, Any], network: nn.Module, call: str = CALL
) -> Iterator[Path]:
    """The folder of the run, checked to be of this run, or a temporary one.

    Args:
        folder: as in `hmc`.
        settings: all that the draws depend on, besides the network; the sha256 of the data under "data".
        network: the architecture, with its buffers.
        call: name of the public function, for messages.

    Raises:
        ValueError: a folder of another run, or one of which that cannot be known.
        OSError: the folder cannot be written.
    """
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    check_path(call, "folder", folder)
    home = Path(folder)
    identity = _identity(settings, network)
    try:
        home.mkdir(parents=True, exist_ok=True)
        known = (home / "manifest.json").exists()
        if not known:
            _write(home / "manifest.json", identity | {"versions": VERSIONS})
    except OSError as error:
        raise OSError(
            f"{call}: the folder {home} could not be begun ({error}); nothing has been computed yet: make room, or "
            "choose a folder that can be written, and call again."
        ) from error
    if known:
        found = _read(call, home / "manifest.json")
        _check_identity(call, home, found, identity)
        _check_versions(call, home, found.get("versions"))
    yield home


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """The folder of a stack's checkpoints, made where need be, and this process's alone while the block runs.

    Raises:
        BlockingIOError: another process works in it.
        OSError: it cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(
            f"{CALL}: another process is working in {folder}; wait for it, or choose another folder."
        ) from None
    except OSError as error:
        raise type(error)(
            error.errno,
            f"{CALL}: the folder {folder} of the checkpoints could not be begun ({error.strerror}); what was "
            "finished before is kept: make room, or remove what is in its place, and call again.",
        ) from error
    try:
        yield folder
    finally:
        lock.release()


def once(file: Path, network: nn.Module, data: Split, make: Callable[[], Ensemble]) -> Ensemble:
    """What the file holds; made and written where it is absent or damaged."""
    if file.exists():
        try:
            return Ensemble.load(file, network).to(data.images.device)
        except (SafetensorError, ValueError) as error:
            warnings.warn(f"{file} is damaged ({error}); it is computed again.", DamagedCheckpoint, stacklevel=2)
    ensemble = make()
    try:
        ensemble.save(file)
    except (OSError, SafetensorError) as error:
        raise OSError(f"{CALL}: {file} could not be written ({error}); make room and call again.") from error
    return ensemble


def _identity(settings: dict[str, Any], network: nn.Module) -> dict[str, Any]:
    """What makes a run this one and no other, as JSON."""
    same = {**settings, "plan": {k: v for k, v in settings["plan"].items() if k != "draws"}}
    same.pop("draws")  # more draws, or fewer, of the same chains may be asked for later
    fingerprints = {"data": settings["data"]["sha256"], "buffers": fingerprint(*network.buffers())}
    return json.loads(json.dumps({**same, "network": repr(network), **fingerprints}))


def _write(file: Path, content: dict[str, Any]) -> None:
    """Whole or not at all."""
    partial = file.with_name(f".{file.stem}.partial")
    try:
        partial.write_text(json.dumps(content, indent=1))
        os.replace(partial, file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _read(call: str, file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}, expected an object of settings")
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{call}: {file} cannot be read ({error}), so it is not known what run it is of; choose another folder, or "
            "delete that file if you know."
        ) from error
    return found


def _check_identity(call: str, home: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = [k for k in wanted if found.get(k) != wanted[k]]
    if differing:
        name = differing[0]
        raise ValueError(
            f"{call}: {home} holds another run: its {name} is {found.get(name)}, here it is {wanted[name]}; "
            "call with the same arguments to go on, or choose another folder."
        )


def _check_versions(call: str, home: Path, found: Any) -> None:
    """Another version may compute other bits: the draws stay draws of the posterior, so it is a warning."""
    if found == VERSIONS:
        return
    told = lambda versions: ", ".join(f"{name} {version}" for name, version in versions.items())
    begun = told(found) if isinstance(found, dict) and found else "a version that did not say its name"
    warnings.warn(
        f"{call}: {home} was begun by {begun}, this is {told(VERSIONS)}: the run goes on, and its bytes may be those "
        "of neither; choose another folder for draws that can be computed again.",
        OtherVersions,
        stacklevel=5,
    )
