"""Bank: a posterior's draws on disk, read one by one.

Opening a bank reads its manifest alone; a draw is read, and its checksum compared, when it is asked for. A bank may lie
in one file or in several, such as one for each chain or one for each draw: their draws follow one another.
"""

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast import bank_file
from holdfast.chosen_draws import places_of, said_of
from holdfast.ensemble import Diagnostics, Ensemble, check_network, check_path, skeleton

SUFFIX = ".safetensors"


@dataclass(frozen=True, eq=False)
class Bank:
    """Draws on disk. Make one with `Bank.open`.

    Attributes:
        paths: the files, in the order of their draws.
        manifest: of the first file: architecture, prior, data, sampler, seed, chains, versions; `draws` of all files.
        diagnostics: what the inference method reported, where the files say it.
        counts: how many draws each file holds.

    >>> import tempfile
    >>> from holdfast.networks import fc2
    >>> ensemble = Ensemble.from_networks([fc2((2,), 2, width=8, seed=s) for s in range(3)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bank = Bank.open(ensemble.save(f"{folder}/bank.safetensors"), fc2((2,), 2, width=8))
    ...     len(bank), bool((bank[1].weights["output.bias"] == ensemble[1].weights["output.bias"]).all())
    (3, True)
    """

    paths: tuple[Path, ...]
    manifest: Mapping[str, Any]
    diagnostics: Diagnostics | None
    counts: tuple[int, ...]
    _network: nn.Module | None
    _files: tuple[Any, ...]
    _manifests: tuple[Mapping[str, Any], ...]

    @classmethod
    def open(cls, path: str | os.PathLike | Sequence[str | os.PathLike], network: nn.Module | None = None) -> "Bank":
        """Open a bank.

        Args:
            path: a file, a folder (all its safetensors files, in the order of their names), or several files.
            network: the architecture, needed to make ensembles of draws; `networks.rebuild` makes it from
                `bank.manifest["architecture"]["recipe"]` where there is one.

        Raises:
            FileNotFoundError: no such file, or a folder without files of draws.
            ValueError: a file that is cut off or damaged, files of different architectures or from different
                samplers, priors or data, the same chain twice, or another architecture than the network's.
        """
        paths = _files_of(path)
        if network is not None:
            check_network("Bank.open", network)
        files = tuple(bank_file.open_file("Bank.open", p) for p in paths)
        headers = [bank_file.header_of("Bank.open", p, f) for p, f in zip(paths, files, strict=True)]
        shapes = [{k: tuple(f.get_slice(k).get_shape()) for k in f.keys()} for f in files]  # noqa: SIM118, not a dict
        counts = tuple(_count(p, s) for p, s in zip(paths, shapes, strict=True))
        of_one = [{k: shape[1:] for k, shape in s.items()} for s in shapes]
        for p, other in zip(paths[1:], of_one[1:], strict=True):
            bank_file.check_shapes("Bank.open", p, of_one[0], other, paths[0].name)
        if network is not None:
            expected = {k: tuple(v.shape) for k, v in (*network.named_parameters(), *network.named_buffers())}
            bank_file.check_shapes("Bank.open", paths[0], expected, of_one[0], "the network")
            for p, f in zip(paths, files, strict=True):
                bank_file.check_kinds("Bank.open", p, network, f)
            network = skeleton(network)
        manifests = tuple(m for m, _ in headers)
        _check_same_origin(paths, manifests)
        _check_copies(paths, manifests)
        chains = [m.get("chains") for m in manifests]
        _check_choices(paths, [d for _, d in headers])
        _check_chains(paths, counts, chains)
        total = sum(chains) if all(chains) else None
        together = {**manifests[0], "draws": sum(counts), "chains": total}
        return cls(tuple(paths), together, _together(headers, total), counts, network, files, manifests)

    def __len__(self) -> int:
        return sum(self.counts)

    def __iter__(self) -> Iterator[Ensemble]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, draw: int) -> Ensemble:
        """One draw as an ensemble of one."""
        draw = self._place("Bank", draw)
        weights = {k: v[None] for k, v in self.state(draw).items()}
        return Ensemble(self._architecture, weights, said_of(self.diagnostics, [draw], len(self)))

    def state(self, draw: int) -> dict[str, Tensor]:
        """The weights of one draw by their state-dict names, read from disk and checked."""
        draw, part = self._place("Bank.state", draw), 0
        while draw >= self.counts[part]:
            draw, part = draw - self.counts[part], part + 1
        path, file = self.paths[part], self._files[part]
        with bank_file.readable("Bank", path):
            state = {k: file.get_slice(k)[draw] for k in self._names}
        if self._manifests[part].get("checksums") is not None:
            bank_file.check_draw("Bank", path, self._manifests[part], draw, bank_file.draw_checksum(state))
        return state

    def ensemble(self, draws: slice | Sequence[int] = slice(None)) -> Ensemble:
        """Some of the draws, or all of them, as one ensemble in memory; its diagnostics are theirs, as of a slice of an
        `Ensemble`.
        """
        if isinstance(draws, int):
            raise TypeError(
                f"Bank.ensemble: expected a slice or a list of draws, got {draws!r}; bank[{draws!r}] is one draw."
            )
        places = places_of("Bank.ensemble", draws, len(self))
        states = [self.state(i) for i in places]
        stacked = {k: torch.stack([s[k] for s in states]) for k in states[0]}
        return Ensemble(self._architecture, stacked, said_of(self.diagnostics, places, len(self)))

    def _place(self, call: str, draw: int) -> int:
        """A draw's number from 0, of one that may be counted from the end."""
        try:
            number = operator.index(draw)
        except TypeError as error:
            raise TypeError(
                f"{call}: expected the number of one draw, got {draw!r}; bank.ensemble(...) takes slices and lists."
            ) from error
        if not -len(self) <= number < len(self):
            raise IndexError(f"{call}: draw {number} of a bank of {len(self)}; draws are 0 to {len(self) - 1}.")
        return number % len(self)

    @cached_property
    def _names(self) -> list[str]:
        return list(self._files[0].keys())

    @property
    def _architecture(self) -> nn.Module:
        if self._network is None:
            raise ValueError("Bank: it was opened without a network; use Bank.open(path, network).")
        return self._network


def _files_of(path: str | os.PathLike | Sequence[str | os.PathLike]) -> list[Path]:
    if isinstance(path, Iterable) and not isinstance(path, str | bytes | os.PathLike):
        found = list(path)
        if not found:
            raise ValueError("Bank.open: expected at least one file, got none.")
        for number, file in enumerate(found):
            check_path("Bank.open", f"path[{number}]", file)
            if Path(file).is_dir():
                raise IsADirectoryError(f"Bank.open: {file} is a folder; open it alone, or list the files in it.")
        return [Path(p) for p in found]
    check_path("Bank.open", "path", path)
    if not Path(path).is_dir():
        return [Path(path)]
    if any(Path(path).glob("chains-*/")):
        raise ValueError(
            f"Bank.open: {path} holds the checkpoints of a run of inference.hmc, not a bank; call it again with "
            "folder= and the same arguments, which computes nothing that is finished, and save what it returns."
        )
    found = sorted(Path(path).glob(f"*{SUFFIX}"))
    if not found:
        raise FileNotFoundError(f"Bank.open: the folder {path} holds no {SUFFIX} files.")
    return found


def _count(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> int:
    sizes = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            f"Bank.open: {path} is no bank: every weight needs the same leading axis of at least one draw, got "
            f"{sorted(sizes) or 'no weights'}; read single state dicts with banks.from_state_dicts."
        )
    return sizes.pop()


def _check_same_origin(paths: Sequence[Path], manifests: Sequence[Mapping[str, Any]]) -> None:
    """Draws of different posteriors are no bank, though they may fit one network."""
    for what in ("sampler", "prior", "data"):
        for path, manifest in zip(paths[1:], manifests[1:], strict=True):
            if manifest.get(what) != manifests[0].get(what):
                raise ValueError(
                    f"Bank.open: {path} and {paths[0].name} are of different posteriors: {what} is "
                    f"{manifest.get(what)!r} and {manifests[0].get(what)!r}; open them one by one."
                )


def _check_copies(paths: Sequence[Path], manifests: Sequence[Mapping[str, Any]]) -> None:
    """Copies of a chain, in one file or in several, would agree with each other without having mixed."""
    seen: dict[tuple[str, ...], str] = {}
    for path, manifest in zip(paths, manifests, strict=True):
        sums = manifest.get("checksums")
        if sums is None:
            continue
        chains = manifest.get("chains") or 1
        each = max(1, len(sums) // chains)
        for number, start in enumerate(range(0, len(sums), each)):
            own = tuple(sums[start : start + each])
            here = f"chain {number} of {path}" if chains > 1 else str(path)
            if own in seen:
                raise ValueError(
                    f"Bank.open: {seen[own]} and {here} hold the same draws; copies of a chain would agree with each "
                    "other without having mixed. Give every chain once."
                )
            seen[own] = here


def _check_choices(paths: Sequence[Path], told: Sequence[Mapping[str, Any] | None]) -> None:
    """Files of some draws can follow one another only where each holds whole chains."""
    for path, found in zip(paths, told, strict=True):
        settings = (found or {}).get("settings", {})
        if len(paths) > 1 and settings.get("chains") is None and (settings.get("chosen") or {}).get("chains"):
            raise ValueError(
                f"Bank.open: {path} holds some draws of a run, not equally many of each chain in their order, so among "
                "draws of other files its chains could not be told apart; open it alone, or save whole chains."
            )


def _check_chains(paths: Sequence[Path], counts: Sequence[int], chains: Sequence[int | None]) -> None:
    """All chains of a bank need one length: that is how they are told apart."""
    if not all(chains):
        return
    lengths = [count / number for count, number in zip(counts, chains, strict=True)]
    for path, length in zip(paths, lengths, strict=True):
        if length != lengths[0]:
            raise ValueError(
                f"Bank.open: the chains of {path} have {length:g} draws, those of {paths[0].name} {lengths[0]:g}; "
                "open them one by one, or save as many draws of each."
            )


def _together(
    headers: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]], chains: int | None
) -> Diagnostics | None:
    """The first file's diagnostics; of several files, without the figures that speak of one of them only."""
    first = headers[0][1]
    if first is None or len(headers) == 1:
        return Diagnostics(**first) if first else None
    settings = {k: v for k, v in first.get("settings", {}).items() if k not in ("chains", "chosen")}
    settings |= {"chains": chains} if chains else {}
    warnings = list(dict.fromkeys(w for _, d in headers for w in (d or {}).get("warnings", ())))
    return Diagnostics(first["method"], settings, warnings=warnings)
