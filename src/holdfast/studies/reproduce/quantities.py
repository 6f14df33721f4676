"""Quantities: a number with an interval from the rows of a table, for a claim.

    difference    mean over images of column(where) - column(against), the same image and training seed
    level         mean over images of the column
    correlation   Spearman's correlation over images of two columns
    trend         mean over images of the slope of the column over the logarithm of the number of draws

Intervals are bootstrap intervals over images, and over training seeds as well where there are several.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import scores
from holdfast.studies.reproduce.claim import Evidence

if TYPE_CHECKING:
    from pandas import DataFrame

RESAMPLES = 1999
PAIR = ["seed", "image"]


@dataclass(frozen=True)
class Estimate:
    """A number, its 95 % interval, and of how many images; `p` of the paired test where there is one."""

    value: float
    low: float
    high: float
    images: int
    p: float | None = None


class NotThere(ValueError):
    """The rows that a piece of evidence is about are not in the tables."""


def estimate(evidence: Evidence, tables: "Mapping[str, DataFrame]", where: Mapping[str, Any] | None = None) -> Estimate:
    """The number of a piece of evidence, or the same with some labels replaced by `where`.

    Raises:
        NotThere: no such rows.
    """
    labels = evidence.where | dict(where or {})
    table = joined(evidence, tables)
    if evidence.quantity == "difference":
        first = rows(table, labels)
        second = rows(table, labels | evidence.against)
        return _difference(first, second, evidence.column)
    own = rows(table, labels)
    if evidence.quantity == "level":
        return _mean(_grid(own, evidence.column))
    if evidence.quantity == "trend":
        return _mean(_slopes(own, evidence.column))
    return _correlation(own, evidence.column, evidence.other)


def compared(
    evidence: Evidence, tables: "Mapping[str, DataFrame]", first: Mapping[str, Any], second: Mapping[str, Any]
) -> Estimate:
    """How much higher the column is for some labels than for others, image by image."""
    table = joined(evidence, tables)
    return _difference(rows(table, evidence.where | first), rows(table, evidence.where | second), evidence.column)


def joined(evidence: Evidence, tables: "Mapping[str, DataFrame]") -> "DataFrame":
    """The table of a piece of evidence; a column that it lacks is looked for in `predictions`."""
    if evidence.table not in tables or tables[evidence.table].empty:
        raise NotThere(f"the table {evidence.table!r} is empty")
    table = tables[evidence.table]
    wanted = [c for c in (evidence.column, evidence.other) if c and c not in table.columns]
    if not wanted:
        return table
    more = tables.get("predictions")
    if more is None or not set(wanted) <= set(more.columns):
        raise NotThere(f"there is no column {', '.join(wanted)}")
    on = [c for c in ("treatment", "draws", "seed", "attack", "epsilon", "image") if c in table.columns]
    return table.merge(more[[*on, *wanted]], on=on)


def rows(table: "DataFrame", labels: Mapping[str, Any]) -> "DataFrame":
    """The rows with these labels.

    Raises:
        NotThere: there are none.
    """
    chosen = table
    for name, value in labels.items():
        if name not in table.columns:
            raise NotThere(f"there is no column {name!r}")
        chosen = chosen[chosen[name] == value]
    if chosen.empty:
        raise NotThere(f"there are no rows with {', '.join(f'{k} {v}' for k, v in labels.items())}")
    return chosen


def _grid(own: "DataFrame", column: str) -> np.ndarray:
    """Values `[seeds, images]`."""
    if own.duplicated(PAIR).any():
        raise NotThere("the labels do not settle on one row for each image: name draws, k, layer, rule, attack")
    return own.pivot(index="seed", columns="image", values=column).to_numpy(float)


def _difference(first: "DataFrame", second: "DataFrame", column: str) -> Estimate:
    a, b = (_grid(t, column) for t in (first, second))
    if a.shape != b.shape:
        raise NotThere("the two sides have different images")
    found = scores.compare(*((a, b) if len(a) > 1 else (a[0], b[0])), seed=0, resamples=RESAMPLES)
    return Estimate(found.mean, *found.mean_interval, a.shape[1], found.wilcoxon_p)


def _mean(values: np.ndarray) -> Estimate:
    zero = np.zeros_like(values)
    found = scores.compare(*((values, zero) if len(values) > 1 else (values[0], zero[0])), seed=0, resamples=RESAMPLES)
    return Estimate(found.mean, *found.mean_interval, values.shape[1], found.wilcoxon_p)


def _slopes(own: "DataFrame", column: str) -> np.ndarray:
    counts = np.sort(own.draws.unique())
    if len(counts) < 2:
        raise NotThere("a trend needs several numbers of draws")
    grids = np.stack([_grid(own[own.draws == n], column) for n in counts])
    x = np.log(counts) - np.log(counts).mean()
    return np.tensordot(x, grids, 1) / (x @ x)


def _correlation(own: "DataFrame", column: str, other: str) -> Estimate:
    from scipy import stats

    a, b = (_grid(own, c).mean(0) for c in (column, other))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise NotThere(f"one of {column} and {other} is the same for all images")
    spearman = lambda i: stats.spearmanr(a[i], b[i]).statistic
    random = np.random.default_rng(0)
    draws = np.array([spearman(random.integers(0, len(a), len(a))) for _ in range(RESAMPLES // 4)])
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return Estimate(float(spearman(np.arange(len(a)))), float(low), float(high), len(a))
