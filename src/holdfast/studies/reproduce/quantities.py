"""Quantities: a number with an interval from the rows of a table, for a claim.

    difference    mean over images of column(where) - column(against), the same image and training seed
    level         mean over images of the column
    gap           mean over images of the column minus another column of the same row
    trend         mean over images of the slope of the column over the logarithm of the number of draws, or of what
                  `over` names
    correlation   Spearman's correlation over images of two columns, the mean over training seeds
    association   the same over all rows, for tables of networks; with `within`, the mean over the groups of those that
                  have its value in common

Intervals are bootstrap intervals over images, and over training seeds as well where there are several; those of an
association are over settings of networks. Where a table has several radii and none is named, the largest is meant.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from holdfast.scores.statistics import mean_interval, wilcoxon
from holdfast.studies.reproduce.claim import Evidence
from holdfast.studies.reproduce.estimate import RESAMPLES, Estimate, NotThere
from holdfast.studies.reproduce.ranks import Groups, association, correlation, over_groups, over_seeds

if TYPE_CHECKING:
    from pandas import DataFrame

FEWEST = 5  # images, or settings of networks, that a number may rest on
PAIR = ["seed", "image"]
TESTS = {"positive": "greater", "negative": "less"}  # what is expected -> the side of the paired test
BEYOND_CHANCE = {"k_lrp": "k_lrp_corrected"}  # a score of maps -> the same with the chance level taken off
OF_A_NETWORK = ("seed", "member", "accuracy", "attacked_accuracy", "robustness", "saturated")  # not of its setting
OF_CHANCE = ("difference", "trend")  # quantities that a chance level can make, or hide
AVERAGED = "averaged"  # how many draws there were, where "draws" is the number in the paper
KEYS = ("treatment", "draws", "seed", "attack", "epsilon", "image")  # that tables of one study have in common


def estimate(evidence: Evidence, tables: "Mapping[str, DataFrame]") -> Estimate:
    """The number of a piece of evidence.

    Args:
        evidence: what is asked.
        tables: of its panel under one preset.

    Raises:
        NotThere: no such rows.
    """
    return Number(evidence, tables).estimate()


class Number:
    """The number of a piece of evidence, and that of its controls, whose rows are read once.

    Args:
        evidence, tables: as of `estimate`.

    Raises:
        NotThere: no such table, or no such column.
    """

    def __init__(self, evidence: Evidence, tables: "Mapping[str, DataFrame]") -> None:
        self.evidence, self.table = evidence, joined(evidence, tables)
        self._read: dict[tuple[Any, ...], DataFrame] = {}

    def estimate(self, control: Mapping[str, Any] | None = None) -> Estimate:
        """The number, or that of the labels of a control in place of its own.

        Raises:
            NotThere: no such rows.
        """
        evidence, labels = self.evidence, self.evidence.where | dict(control or {})
        if evidence.quantity == "association":
            return association([_both(evidence, self.table, labels)])
        if evidence.quantity == "correlation":
            return correlation([_stacked(*_pairs(evidence, self.table, labels))])
        return _mean(self._values(labels), None if control else TESTS.get(evidence.expect, "two-sided"))

    def advantage(self, control: Mapping[str, Any]) -> Estimate:
        """How much further the number goes than for a control's labels, on the same images.

        That is, to the side that is claimed: how much higher, or lower. Where zero is claimed, how much nearer to it:
        how far the number is above -|b| or below |b|, whichever is less sure, for the control's number b.

        Raises:
            NotThere: no such rows.
        """
        evidence, own, other = self.evidence, self.evidence.where, self.evidence.where | dict(control)
        if evidence.quantity == "association":
            sides = [_both(evidence, self.table, labels) for labels in (own, other)]
            return _smaller(association(sides, s) for s in _signs(evidence, lambda: over_groups(sides[1])))
        if evidence.quantity == "correlation":
            pairs = _on_the_same_images(evidence, self.table, own, other)
            return _smaller(correlation(pairs, s) for s in _signs(evidence, lambda: over_seeds(pairs[1])))
        a, b = self._values(own).align(self._values(other), join="inner")
        signs = _signs(evidence, lambda: b.mean(axis=None))
        return _smaller(_mean(_complete(first * a + second * b)) for first, second in signs)

    def _values(self, labels: Mapping[str, Any]) -> "DataFrame":
        """The number image by image: a frame of seeds (rows) and images (columns)."""
        evidence = self.evidence
        if evidence.quantity == "difference":
            other = labels | evidence.against
            against = self._once(lambda: _grid(_only(evidence, rows(self.table, other)), evidence.column),
                                 "against", other)  # fmt: skip
            return self._once(lambda: _complete(self._own(labels).sub(against)), "own", labels)
        return self._once(lambda: _complete(self._own(labels)), "own", labels)

    def _own(self, labels: Mapping[str, Any]) -> "DataFrame":
        evidence = self.evidence
        own = _only(evidence, rows(self.table, labels))
        if evidence.quantity == "trend":
            return _slopes(own, evidence.column, evidence.over)
        if evidence.quantity == "gap":
            return _grid(own, evidence.column).sub(_grid(own, evidence.other))
        return _grid(own, evidence.column)

    def _once(self, read: "Callable[[], DataFrame]", what: str, labels: Mapping[str, Any]) -> "DataFrame":
        name = (what, *sorted(labels.items()))
        if name not in self._read:
            self._read[name] = read()
        return self._read[name]


def _signs(evidence: Evidence, other: Callable[[], float]) -> list[tuple[float, float]]:
    """With which signs both numbers are added up, so that the sum says how much further the own one goes.

    Nearer to zero than b is what is above -|b| and below |b|: both sums must be positive.
    """
    if evidence.expect == "zero":
        sign = float(np.sign(other()))
        return [(1.0, sign), (-1.0, sign)]
    return [(-1.0, 1.0)] if evidence.expect in ("negative", "not above") else [(1.0, -1.0)]


def _smaller(gaps: Iterable[Estimate]) -> Estimate:
    return min(gaps, key=lambda gap: gap.low)


def beyond_chance(evidence: Evidence, tables: "Mapping[str, DataFrame]") -> tuple[Estimate, float]:
    """The number of a difference or trend with the chance level of either side taken off, and the own side's level.

    Heatmaps of different networks can have different levels: what another image's map scores. Where they do, a
    difference in the score alone says nothing.

    Raises:
        NotThere: the score has no chance level, or no table has it.
    """
    if evidence.column not in BEYOND_CHANCE or evidence.quantity not in OF_CHANCE:
        raise NotThere(f"{evidence.quantity} of {evidence.column} has no chance level")
    asked = evidence.model_copy(update={"column": BEYOND_CHANCE[evidence.column]})
    own = rows(joined(evidence.model_copy(update={"other": "chance"}), tables), evidence.where)
    return estimate(asked, tables), float(own.chance.mean())


def joined(evidence: Evidence, tables: "Mapping[str, DataFrame]") -> "DataFrame":
    """The table of a piece of evidence; a column that it lacks is looked for in `predictions`.

    Raises:
        NotThere: no such table, or no such column.
    """
    if evidence.table not in tables or tables[evidence.table].empty:
        raise NotThere(f"the table {evidence.table!r} is empty")
    table = tables[evidence.table]
    wanted = [c for c in (evidence.column, evidence.other, evidence.per) if c and c not in table.columns]
    if wanted:
        more = tables.get("predictions")
        if more is None or not set(wanted) <= set(more.columns):
            raise NotThere(f"there is no column {', '.join(wanted)}")
        on = [c for c in KEYS if c in table.columns]
        table = table.merge(more[[*on, *wanted]], on=on)
    if evidence.per:
        size = table[evidence.per]
        table = table.assign(**{evidence.column: table[evidence.column] / size.where(size != 0)})
    return table


def rows(table: "DataFrame", labels: Mapping[str, Any]) -> "DataFrame":
    """The rows with these labels, at the largest radius where none is named.

    Raises:
        NotThere: there are none.
    """
    wanted = np.ones(len(table), bool)  # the table is cut once, not label by label
    for name, value in labels.items():
        if name not in table.columns:
            raise NotThere(f"there is no column {name!r}")
        wanted &= (table[name] == value).to_numpy(bool)
    chosen = table[wanted]
    if chosen.empty:
        raise NotThere(f"there are no rows with {', '.join(f'{k} {v}' for k, v in labels.items())}")
    if "epsilon" in chosen.columns and "epsilon" not in labels:
        chosen = chosen[chosen.epsilon == chosen.epsilon.max()]
    return chosen


def _complete(values: "DataFrame") -> "DataFrame":
    """The images that have a number under every seed; a seed without any, for its training failed, is left out."""
    found = values.dropna(how="all").dropna(axis="columns")
    images = found.shape[1] if len(found) else 0
    if images < FEWEST:
        raise NotThere(f"there are only {images} such images")
    return found


def _only(evidence: Evidence, own: "DataFrame") -> "DataFrame":
    for column, value in evidence.above.items():
        own = own[own[column] > value]
    if evidence.only == "all":
        return own
    return own[own.label_kept == (evidence.only == "kept")]


def _grid(own: "DataFrame", column: str) -> "DataFrame":
    if own.duplicated(PAIR).any():
        raise NotThere("the labels do not settle on one row for each image: name draws, k, layer, rule, attack")
    return own.pivot(index="seed", columns="image", values=column).astype(float)


def _slopes(own: "DataFrame", column: str, over: str) -> "DataFrame":
    if over not in own.columns:
        raise NotThere(f"there is no column {over!r}")
    steps = np.sort(own[over].unique())
    told = AVERAGED if over == "draws" and AVERAGED in own.columns else over
    values = np.array([own[own[over] == n][told].mean() for n in steps])
    if len(np.unique(values)) < 2 or values.min() <= 0:
        raise NotThere(f"a trend needs several values of {over}, all above 0")
    x = np.log(values) - np.log(values).mean()
    if over != "draws":  # rows that differ in other labels only are averaged
        own = own.groupby([*PAIR, over], as_index=False)[column].mean()
    grids = [_grid(own[own[over] == n], column) for n in steps]
    return sum(weight * grid for weight, grid in zip(x / (x @ x), grids, strict=True))


def _mean(values: "DataFrame", alternative: Literal["two-sided", "greater", "less"] | None = None) -> Estimate:
    """Over images, and seeds where there are several; with the test of a side where one is named."""
    a = values.to_numpy()
    per_image = a.mean(0)
    interval = mean_interval(a, seed=0, resamples=RESAMPLES)
    return Estimate(
        float(per_image.mean()), *interval, a.shape[1], alternative and wilcoxon(per_image, alternative), len(a)
    )


def _pairs(evidence: Evidence, table: "DataFrame", labels: Mapping[str, Any]) -> "tuple[DataFrame, DataFrame]":
    """Both columns, seeds x images, of the images that have both under every seed."""
    own = _only(evidence, rows(table, labels))
    first, second = (_grid(own, c) for c in (evidence.column, evidence.other))
    known = _complete(first.where(second.notna()))
    return first.loc[known.index, known.columns], second.loc[known.index, known.columns]


def _on_the_same_images(
    evidence: Evidence, table: "DataFrame", own: Mapping[str, Any], other: Mapping[str, Any]
) -> list[np.ndarray]:
    """The pairs of two sides, of the seeds and images that both have."""
    sides = [_pairs(evidence, table, labels) for labels in (own, other)]
    seeds, images = (sides[0][0].axes[i].intersection(sides[1][0].axes[i]) for i in (0, 1))
    if not len(seeds) or len(images) < FEWEST:
        raise NotThere(f"the two sides have only {len(images)} images in common")
    return [_stacked(*(column.loc[seeds, images] for column in side)) for side in sides]


def _stacked(first: "DataFrame", second: "DataFrame") -> np.ndarray:
    return np.stack([first.to_numpy(), second.to_numpy()])  # [2, seeds, images]


def _both(evidence: Evidence, table: "DataFrame", labels: Mapping[str, Any]) -> Groups:
    """Both columns `[2, rows]` of the networks of each setting: those of one setting are nearly the same network.

    By the value of the column `within`, whose groups are not compared with each other.
    """
    own = _only(evidence, rows(table, labels)).dropna(subset=[evidence.column, evidence.other])
    if len(own) < FEWEST:
        raise NotThere(f"there are only {len(own)} such rows")
    if evidence.within and evidence.within not in own.columns:
        raise NotThere(f"there is no column {evidence.within!r}")
    groups = own.groupby(evidence.within, dropna=False) if evidence.within else [("", own)]
    return [_settings(evidence, group) for _, group in groups]


def _settings(evidence: Evidence, own: "DataFrame") -> list[np.ndarray]:
    names = [c for c in own.columns if c not in OF_A_NETWORK]
    settings = list(own.groupby(names, dropna=False, sort=False)) if names else [((), own)]
    if len(settings) < FEWEST:
        raise NotThere(f"there are only {len(settings)} settings of networks")
    return [one[[evidence.column, evidence.other]].to_numpy(float).T for _, one in settings]
