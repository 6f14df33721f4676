"""Compare: every ensemble with the deterministic network, image by image.

A label is *preserved* in a comparison where both ensembles keep their decision under the attack, and *changed* where
both give it up; images on which they part are in neither subset. Holm's correction is over all rows of one
subset. Inner layers are compared under one rule and on all images only.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from holdfast import scores
from holdfast.progress import track
from holdfast.studies.result import BASELINE, INPUT, SUBSETS

if TYPE_CHECKING:
    from pandas import DataFrame

CELL = ["attack", "epsilon", "rule", "layer"]
RESAMPLES = 1999
INNER_RULE = "epsilon"


def compare(table: "DataFrame", seed: int) -> "DataFrame":
    """Compare k-LRP of all ensembles in a table of scores with the baseline's.

    Args:
        table: the `scores` of a `Result`.
        seed: of the bootstrap.
    """
    import pandas

    baseline = dict(list(table[table.ensemble == BASELINE].groupby(CELL)))
    others = table[table.ensemble != BASELINE].groupby(["ensemble", *CELL], sort=False)
    rows = [
        {"ensemble": name, **dict(zip(CELL, cell, strict=True)), "subset": subset, **figures}
        for (name, *cell), own in track(list(others), "comparing ensembles")
        if cell[CELL.index("layer")] == INPUT or cell[CELL.index("rule")] == INNER_RULE
        for subset, figures in _subsets(own, baseline[tuple(cell)], seed)
    ]
    found = pandas.DataFrame(rows)
    found["p_holm"] = np.nan
    for _, group in found.dropna(subset="p_wilcoxon").groupby("subset"):
        found.loc[group.index, "p_holm"] = scores.holm(group.p_wilcoxon.to_numpy())
    return found


def _subsets(own: "DataFrame", baseline: "DataFrame", seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    own, baseline = own.set_index("image").sort_index(), baseline.set_index("image").sort_index()
    both_kept = own.label_preserved & baseline.label_preserved
    both_changed = ~own.label_preserved & ~baseline.label_preserved
    chosen = dict(zip(SUBSETS, (both_kept | True, both_kept, both_changed), strict=True))
    inner = own.layer.iloc[0] != INPUT
    for subset, rows in chosen.items():
        if not (inner and subset != "all"):
            yield subset, _figures(own.k_lrp[rows].to_numpy(), baseline.k_lrp[rows].to_numpy(), seed)


def _figures(own: np.ndarray, baseline: np.ndarray, seed: int) -> dict[str, Any]:
    names = ("median_difference", "mean_difference", "low", "high", "p_wilcoxon", "effect_size", "p_mann_whitney")
    if len(own) < 2:
        return {"n": len(own)} | dict.fromkeys(names, np.nan)
    c = scores.compare(own, baseline, seed=seed, resamples=RESAMPLES)
    values = (c.median, c.mean, *c.mean_interval, c.wilcoxon_p, c.effect_size, c.mann_whitney_p)
    return {"n": len(own)} | dict(zip(names, values, strict=True))
