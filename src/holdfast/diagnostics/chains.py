"""Chains: which draws of an ensemble follow one another, and how many of them differ.

Samplers keep their draws chain after chain and say in `diagnostics.settings["chains"]` how many chains there are. An
ensemble without that entry consists of independent draws: members of a deep ensemble, samples of a variational
posterior, of SWAG or of a Laplace approximation. Some of a sampler's draws are neither where they are not equally many
of each chain, in their order, see `holdfast.chosen_draws`: of them nothing can be said.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from holdfast.bank_file import draw_checksum
from holdfast.chosen_draws import counts_of
from holdfast.ensemble import Ensemble


def chains_of(ensemble: Ensemble) -> int | None:
    """How many chains the draws belong to; None for independent draws.

    Raises:
        ValueError: the draws cannot be shared evenly by the chains, or are not in the order of their chains.
    """
    settings = ensemble.diagnostics.settings if ensemble.diagnostics else {}
    chains, chosen = settings.get("chains"), settings.get("chosen") or {}
    if chains is None and chosen.get("chains") is not None:
        raise ValueError(_no_chains(chosen))
    if chains is None:
        return None
    if not isinstance(chains, int) or isinstance(chains, bool) or chains < 1 or len(ensemble) % chains:
        raise ValueError(
            f"diagnostics: {len(ensemble)} draws cannot be shared evenly by {chains!r} chains; every chain must keep "
            "the same number of draws."
        )
    return chains


def _no_chains(chosen: Mapping[str, Any]) -> str:
    """Why a choice of a sampler's draws is neither chains nor independent draws."""
    counts, draws = counts_of(chosen), len(chosen["draws"])
    wanted = (
        "take equally many draws of each chain, in their order, such as ensemble[:10] of the first of several chains "
        "of 10 draws, or all draws."
    )
    if counts is None:
        return f"diagnostics: it is not known of which chains these {draws} draws are; {wanted}"
    told = ", ".join(f"{n} of chain {chain}" for chain, n in list(counts.items())[:4]) + (", ..." * (len(counts) > 4))
    if len(set(counts.values())) > 1:
        return f"diagnostics: {draws} draws cannot be shared evenly by {len(counts)} chains: they are {told}; {wanted}"
    return f"diagnostics: these {draws} draws are not in the order in which their chains drew them ({told}); {wanted}"


def by_chain(values: Tensor, chains: int | None) -> Tensor:
    """Values `[S, ...]` as `[chains, S / chains, ...]`; independent draws as one row.

    >>> by_chain(torch.arange(6), 2)
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    chains = chains or 1
    return values.reshape(chains, len(values) // chains, *values.shape[1:])


def distinct_draws(ensemble: Ensemble) -> int:
    """How many of the draws differ: a sampler repeats a draw when it refuses a proposal."""
    return len(set(_checksums(ensemble)))


def check_copies(call: str, ensemble: Ensemble, chains: int | None) -> None:
    """Raise where two chains share a draw: independent chains never do, copies agree without having mixed."""
    if chains is None or chains < 2:
        return
    each, seen = len(ensemble) // chains, {}
    for s, checksum in enumerate(_checksums(ensemble)):
        first = seen.setdefault(checksum, s)
        if first // each != s // each and all(torch.equal(v[first], v[s]) for v in ensemble.weights.values()):
            raise ValueError(
                f"{call}: draw {first % each} of chain {first // each} is draw {s % each} of chain {s // each}; copies "
                "of a chain agree with each other without having mixed, so give every chain once."
            )


def check_finite(call: str, name: str, ensemble: Ensemble) -> None:
    """Raise where a learned weight is not finite; buffers may be, such as masks of attention."""
    for weight, _ in ensemble.network.named_parameters():
        bad = ~torch.isfinite(ensemble.weights[weight].flatten(1)).all(1)
        if bad.any():
            first = int(bad.nonzero()[0])
            raise ValueError(
                f"{call}: {name} has NaN or infinite weights: in {weight}, {int(bad.sum())} of its {len(ensemble)} "
                f"draws hold some, the first of them draw {first}; a draw that is not finite belongs to no posterior: "
                "find out where it came from, or leave it out."
            )


def _checksums(ensemble: Ensemble) -> list[str]:
    return [draw_checksum({k: v[s] for k, v in ensemble.weights.items()}) for s in range(len(ensemble))]


def random_weights(ensemble: Ensemble, count: int, seed: int) -> Tensor:
    """Random coordinates of the learned weights `[S, count]`, or all of them where there are fewer."""
    learned = [ensemble.weights[k].flatten(1) for k, _ in ensemble.network.named_parameters()]
    sizes = [v.shape[1] for v in learned]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(sum(sizes), generator=generator)[:count].sort().values
    parts, start = [], 0
    for values, size in zip(learned, sizes, strict=True):
        own = chosen[(chosen >= start) & (chosen < start + size)] - start
        parts.append(values[:, own.to(values.device)])
        start += size
    return torch.cat(parts, 1)
