"""Averages: what is left of vectors when they are averaged over draws, and whether more draws would leave less.

    v_1, v_2, ... of one image, one for each draw;      E = (1/n) sum_s v_s

A small |E| has two causes that must be told apart: the v_s cancel, or they are small themselves (a saturated softmax).
And a mean of n independent vectors shrinks like n^(-1/2) towards its limit whatever the limit is, so that "falls with
the number of draws" does not say that the limit is zero. Two numbers do not depend on n in expectation:

    remaining    (|sum v|^2 - sum |v|^2) / (n (n - 1))  over  mean |v|^2      estimates |E v|^2 / E |v|^2
    agreement    the same of v / |v|: the mean cosine between two different draws

Both are 1 where all draws say the same, and 0 where the expectation is zero.
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

    def add(self, vectors: Tensor) -> None:
        """The next draw's vectors."""
        v = vectors.detach().double()
        size = v.norm(dim=1)
        one = {
            "sum": v,
            "directions": torch.where(size[:, None] > 0, v / size[:, None], 0.0),
            "heard": (size > 0).double(),
            "l2": size,
            "squares": size.square(),
            "linf": v.abs().amax(1),
            "mean_abs": v.abs().mean(1),
        }
        self.totals = one if self.count == 0 else {name: self.totals[name] + value for name, value in one.items()}
        self.count += 1

    @property
    def mean(self) -> Tensor:
        """The mean of the vectors so far `[B, F]`."""
        return self.totals["sum"] / self.count

    def columns(self) -> dict[str, Tensor]:
        """Numbers of each image `[B]`; `remaining` and `agreement` are NaN where fewer than two draws say anything."""
        t, n, heard, mean = self.totals, self.count, self.totals["heard"], self.mean
        remaining = (t["sum"].square().sum(1) - t["squares"]) / (n - 1) / t["squares"] if n > 1 else heard * torch.nan
        pairs = heard * (heard - 1)
        agreement = (t["directions"].square().sum(1) - heard) / torch.where(pairs > 0, pairs, torch.nan)
        found = {f"single_{name}": t[name] / n for name in ("linf", "l2", "mean_abs")}
        return found | {
            "expected_linf": mean.abs().amax(1),
            "expected_l2": mean.norm(dim=1),
            "expected_mean_abs": mean.abs().mean(1),
            "expected_square": mean.square().sum(1),
            "single_square": t["squares"] / n,
            "zero_components": (mean == 0).double().mean(1),
            "silent": 1 - heard / n,
            "remaining": remaining,
            "agreement": agreement,
        }
