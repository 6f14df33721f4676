"""Estimate: a number with its interval, or the reason why there is none."""

from dataclasses import dataclass

RESAMPLES = 1999  # of every bootstrap


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, of how many images and seeds.

    `p`, where there is one, is of Wilcoxon's signed-rank test against the side that is expected, else of both sides; of
    controls there is none.
    """

    value: float
    low: float
    high: float
    images: int
    p: float | None = None
    seeds: int = 1


class NotThere(ValueError):
    """The rows that a piece of evidence is about are not in the tables."""
