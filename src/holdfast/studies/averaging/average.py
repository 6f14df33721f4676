"""Averages: what is left of vectors when they are averaged over draws, and whether more draws would leave less.

    v_1, v_2, ... of one image, one for each draw;      E = (1/n) sum_s v_s

A small |E| has two causes that must be told apart: the v_s cancel, or they are small themselves (a saturated softmax).
And a mean of n independent vectors shrinks like n^(-1/2) towards its limit whatever the limit is, so that "falls with
the number of draws" does not say that the limit is zero. Two numbers do not depend on n in expectation:

    remaining    mean of <v_s, v_t> over pairs of draws s and t,  over  mean |v|^2:    estimates |E v|^2 / E |v|^2
    agreement    the same of v / |v|: the mean cosine between two different draws

Both are 1 where all draws say the same, and 0 where the expectation is zero. Draws of one Markov chain resemble each
other more than the posterior's do, so only pairs from different chains count.
"""

import torch
from torch import Tensor


class Average:
    """Vectors of one draw after the other, `[B, F]` each.

    >>> average = Average()
    >>> for v in ([3.0, 4.0], [3.0, -4.0]):
    ...     average.add(torch.tensor([v]))
    >>> found = average.columns()
    >>> [round(float(found[k]), 2) for k in ("expected_l2", "single_l2", "agreement", "silent")]
    [3.0, 5.0, -0.28, 0.0]
    """

    def __init__(self) -> None:
        self.count = 0
        self.totals: dict[str, Tensor] = {}
        self.vectors, self.directions = _Pairs(), _Pairs()

    def add(self, vectors: Tensor, chain: int | None = None) -> None:
        """The next draw's vectors, and the chain that it is of; None where it was drawn independently."""
        v = vectors.detach().double()
        size = v.norm(dim=1)
        one = {
            "silent": (size == 0).double(),
            "l2": size,
            "square": size.square(),
            "linf": v.abs().amax(1),
            "mean_abs": v.abs().mean(1),
        }
        self.totals = {name: self.totals.get(name, 0.0) + value for name, value in one.items()}
        self.vectors.add(v, torch.ones_like(size), chain)
        self.directions.add(torch.where(size[:, None] > 0, v / size[:, None], 0.0), (size > 0).double(), chain)
        self.count += 1

    @property
    def mean(self) -> Tensor:
        """The mean of the vectors so far `[B, F]`."""
        return self.vectors.total / self.count

    def columns(self) -> dict[str, Tensor]:
        """Numbers of each image `[B]`; `remaining` and `agreement` are NaN where no pair of draws says anything."""
        mean, single = self.mean, {name: value / self.count for name, value in self.totals.items()}
        return {f"single_{name}": value for name, value in single.items() if name != "silent"} | {
            "expected_linf": mean.abs().amax(1),
            "expected_l2": mean.norm(dim=1),
            "expected_mean_abs": mean.abs().mean(1),
            "expected_square": mean.square().sum(1),
            "zero_components": (mean == 0).double().mean(1),
            "silent": single["silent"],
            "remaining": self.vectors.product / single["square"],
            "agreement": self.directions.product,
        }


class _Pairs:
    """The mean inner product over pairs of draws from different chains, from sums alone.

    sum over pairs  =  |sum of all|^2  -  sum over chains of |sum of the chain|^2
    """

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.weight: Tensor | float = 0.0
        self.chains: dict[int, tuple[Tensor, Tensor]] = {}
        self.own, self.own_weight = 0.0, 0.0  # of draws that are chains of their own

    def add(self, vectors: Tensor, weight: Tensor, chain: int | None) -> None:
        self.total, self.weight = self.total + vectors, self.weight + weight
        if chain is None:
            self.own, self.own_weight = self.own + vectors.square().sum(1), self.own_weight + weight.square()
        else:
            before = self.chains.get(chain, (0.0, 0.0))
            self.chains[chain] = before[0] + vectors, before[1] + weight

    @property
    def product(self) -> Tensor:
        """`[B]`; NaN where there is no pair."""
        within = self.own + sum(vectors.square().sum(1) for vectors, _ in self.chains.values())
        pairs = self.weight.square() - self.own_weight - sum(weight.square() for _, weight in self.chains.values())
        return (self.total.square().sum(1) - within) / torch.where(pairs > 0, pairs, torch.nan)
