"""State dicts: an ensemble of PyTorch checkpoints that others wrote, one file or dict for each draw.

Files are safetensors or what `torch.save` wrote; the latter are read with `weights_only=True`, which runs no code of
the file. A dict under the key "state_dict" or "model" is taken out of its checkpoint, and the prefix "module." of
`nn.DataParallel` is dropped.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast import bank_file
from holdfast.ensemble import Diagnostics, Ensemble, check_network, skeleton

Names = Literal["exact", "in order"]
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")


def from_state_dicts(
    states: str | os.PathLike | Sequence[Mapping[str, Tensor] | str | os.PathLike],
    network: nn.Module,
    *,
    names: Names = "exact",
    diagnostics: Diagnostics | None = None,
) -> Ensemble:
    """Make an ensemble of state dicts.

    Args:
        states: dicts or files, one for each draw; or a folder: all its files, in the order of the numbers in their
            names.
        network: the architecture, left as it is.
        names: "exact" asks for the network's own names; "in order" takes the tensors in the order they have, whatever
            they are called, and checks their shapes (the papers' `model.1.weight` for `linear1.weight`).
        diagnostics: what is known of the inference, to be carried along.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read without running its code, missing names, wrong shapes; the message names
            the draw and the first weight concerned.

    >>> members = [nn.Linear(3, 2) for _ in range(4)]
    >>> len(from_state_dicts([m.state_dict() for m in members], nn.Linear(3, 2)))
    4
    """
    call = "banks.from_state_dicts"
    if names not in ("exact", "in order"):
        raise ValueError(f"{call}: names must be 'exact' or 'in order', got {names!r}.")
    check_network(call, network)
    if isinstance(states, str | os.PathLike):
        states = _in_folder(call, Path(states))
    if isinstance(states, bytes) or not isinstance(states, Sequence):
        todo = "; pass [state_dict] for a single one" * isinstance(states, Mapping)
        raise TypeError(f"{call}: states must be a folder or a list of state dicts, got {type(states).__name__}{todo}.")
    if not states:
        raise ValueError(f"{call}: expected at least one state dict, got none.")
    wanted = {k: v for k, v in (*network.named_parameters(), *network.named_buffers())}
    order = [k for k in network.state_dict() if k in wanted]
    read = [_matched(call, _source(i, s), _read(call, s), wanted, order, names) for i, s in enumerate(states)]
    return Ensemble(skeleton(network), {k: torch.stack([state[k] for state in read]) for k in wanted}, diagnostics)


def load_checkpoint(call: str, path: str | os.PathLike, allowed: Sequence[Any] = ()) -> Any:
    """Read what `torch.save` wrote, without running code of the file; `allowed` are further classes it may name."""
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{call}: there is no file {path}.") from error
    except Exception as error:  # a decoder of another library: whatever it raises, the file is not readable
        reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise ValueError(
            f"{call}: {path} cannot be read as tensors alone ({reason}): it is damaged, or holds objects that would "
            "run code; save its state dict again with torch.save(network.state_dict(), ...)."
        ) from error


def _in_folder(call: str, folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{call}: there is no folder {folder}; pass one file as [file].")
    found = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    number = lambda p: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", p.name)]
    return sorted(found, key=number)


def _source(number: int, state: Any) -> str:
    return str(state) if isinstance(state, str | os.PathLike) else f"state dict {number}"


def _read(call: str, state: Any) -> Mapping[str, Tensor]:
    if isinstance(state, str | os.PathLike):
        state = _read_file(call, Path(state))
    for _ in range(2):
        inner = next(
            (state[k] for k in WRAPPERS if isinstance(state, Mapping) and isinstance(state.get(k), Mapping)), None
        )
        state = state if inner is None else inner
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{call}: expected a dict from names to tensors, got {type(state).__name__} of other things.")
    return {str(k).removeprefix("module."): v.detach() for k, v in state.items()}


def _read_file(call: str, path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{call}: there is no file {path}.")
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] != b"{":  # where a safetensors file begins its header, and no archive or pickle has a brace
        return load_checkpoint(call, path)
    file = bank_file.open_file(call, path)
    with bank_file.readable(call, path):
        return {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118, not a dict


def _matched(
    call: str, source: str, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], order: list[str], names: Names
) -> dict[str, Tensor]:
    """The tensors of one state dict under the network's names, in its types."""
    if names == "in order":
        if len(state) != len(order):
            raise ValueError(f"{call}: {source} holds {len(state)} tensors, the network {len(order)}.")
        state = dict(zip(order, state.values(), strict=True))
    missing, extra = [k for k in wanted if k not in state], [k for k in state if k not in wanted]
    if missing or extra:
        raise ValueError(
            f"{call}: {source} lacks {missing[:3] or 'nothing'} and has {extra[:3] or 'nothing'} besides; build the "
            "network it was saved from, or pass names='in order' where only the names differ."
        )
    for name, value in wanted.items():
        if state[name].shape != value.shape:
            raise ValueError(
                f"{call}: {name} is {tuple(state[name].shape)} in {source} and {tuple(value.shape)} in the network."
            )
        if not torch.isfinite(state[name]).all():
            raise ValueError(f"{call}: {name} of {source} holds NaN or infinite values; leave this draw out.")
    return {k: state[k].to(v.dtype) for k, v in wanted.items()}
