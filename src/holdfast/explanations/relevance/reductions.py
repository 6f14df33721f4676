"""Reductions: what is kept of the maps of all draws, without ever holding them all.

Maps arrive some draws at a time, all draws of a block of images in order. A reduction opens a stream for each block,
and the stream keeps a running result: sums for mean and variance, counts for top-k. Quantiles need every draw of an
entry: where the maps of a block do not fit into memory, they are made again for one part of the entries after another
(`parts`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Stream(Protocol):
    """A running result over the draws of one block of images."""

    def add(self, maps: Tensor) -> None:
        """Take in the maps `[s, b, N]` of some draws, entries in one axis."""

    def result(self) -> Tensor:
        """The result `[..., b, N]` over the draws taken in."""


@dataclass(frozen=True)
class Mean:
    """Mean over draws."""

    def stream(self, draws: int) -> Stream:
        """A stream for so many draws of one block."""
        return _Moments(variance=False)


@dataclass(frozen=True)
class Variance:
    """Variance over draws, divided by their number less one; zero for a single draw."""

    def stream(self, draws: int) -> Stream:
        """A stream for so many draws of one block."""
        return _Moments(variance=True)


@dataclass(frozen=True)
class Quantiles:
    """Quantiles over draws, interpolated linearly; the result has a leading axis, one entry per quantile.

    Args:
        q: one or several numbers in `[0, 1]`.
    """

    q: float | Sequence[float]

    def __post_init__(self) -> None:
        q = (self.q,) if isinstance(self.q, int | float) else tuple(self.q)
        if not q or not all(0 <= v <= 1 for v in q):
            raise ValueError(f"Quantiles: every quantile must lie in [0, 1], got {self.q}.")
        object.__setattr__(self, "q", q)

    def stream(self, draws: int) -> Stream:
        """A stream for so many draws of one block."""
        return _Collected(self.q, draws)


@dataclass(frozen=True)
class TopCounts:
    """In how many draws an entry is among the `percent` per cent largest of |R| of its map; ties: lower index first."""

    percent: float

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise ValueError(f"TopCounts: percent must lie in (0, 100], got {self.percent}.")

    def stream(self, draws: int) -> Stream:
        """A stream for so many draws of one block."""
        return _Counts(self.percent)


Reduction = Mean | Variance | Quantiles | TopCounts
COPIES = 2  # of the maps of a part, at most, while they are turned and sorted
NAMED = {"mean": Mean(), "variance": Variance(), "median": Quantiles(0.5)}


def reduction(call: str, reduce: "str | Reduction | None") -> Reduction | None:
    """A reduction, from its name or as it is."""
    if reduce is None or isinstance(reduce, Mean | Variance | Quantiles | TopCounts):
        return reduce
    if isinstance(reduce, str) and reduce in NAMED:
        return NAMED[reduce]
    raise ValueError(
        f"{call}: reduce must be None, {', '.join(map(repr, NAMED))}, Quantiles(...) or TopCounts(...), got {reduce!r}."
    )


def parts(kind: Reduction | None, draws: int, entry_bytes: int, memory: int) -> int:
    """In how many parts the entries of a block must be taken so that what a stream holds fits into half of `memory`."""
    if not isinstance(kind, Quantiles):
        return 1
    return max(1, math.ceil(2 * COPIES * draws * entry_bytes / memory))


class _Moments:
    """Running mean and sum of squared deviations, merged block by block (Chan et al. 1979)."""

    def __init__(self, variance: bool) -> None:
        self.variance, self.count, self.mean, self.square = variance, 0, None, None

    def add(self, maps: Tensor) -> None:
        count, mean = len(maps), maps.mean(0)
        square = ((maps - mean) ** 2).sum(0) if self.variance else None
        if self.mean is None:
            self.count, self.mean, self.square = count, mean, square
            return
        total, step = self.count + count, mean - self.mean
        if self.variance:
            self.square = self.square + square + step**2 * (self.count * count / total)
        self.mean, self.count = self.mean + step * (count / total), total

    def result(self) -> Tensor:
        return self.square / max(1, self.count - 1) if self.variance else self.mean


class _Collected:
    """All draws of the entries at hand."""

    def __init__(self, q: tuple[float, ...], draws: int) -> None:
        self.q, self.draws, self.count, self.maps = q, draws, 0, None

    def add(self, maps: Tensor) -> None:
        if self.maps is None:
            self.maps = maps.new_empty(self.draws, *maps.shape[1:])  # one block: many would leave the heap in pieces
        self.maps[self.count : self.count + len(maps)] = maps.detach()
        self.count += len(maps)

    def result(self) -> Tensor:
        turned, self.maps = self.maps.movedim(0, -1).contiguous(), None
        values = ordered(turned)
        places = [q * (values.shape[-1] - 1) for q in self.q]
        found = [values[..., math.floor(p)].lerp(values[..., math.ceil(p)], p - math.floor(p)) for p in places]
        return found[0] if len(found) == 1 else torch.stack(found)


class _Counts:
    """How often each entry was among the largest."""

    def __init__(self, percent: float) -> None:
        self.percent, self.counts = percent, None

    def add(self, maps: Tensor) -> None:
        size = maps.abs()
        count = max(1, int(size.shape[-1] * self.percent / 100 + 1e-9))
        least = ordered(size)[..., -count, None]
        above, ties = size > least, size == least
        ties &= ties.cumsum(-1) <= count - above.sum(-1, keepdim=True)  # of equal entries the first ones
        chosen = (above | ties).sum(0)
        self.counts = chosen if self.counts is None else self.counts + chosen

    def result(self) -> Tensor:
        return self.counts


def ordered(values: Tensor) -> Tensor:
    """Sorted along the last axis; on a CPU by NumPy, which is eight times as fast at it."""
    if values.device.type != "cpu":
        return values.sort(-1).values
    return torch.from_numpy(np.sort(values.detach().contiguous().numpy(), -1))
