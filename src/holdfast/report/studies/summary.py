"""Summary: tables of per-image rows as one row for each combination of labels, with means over images and seeds."""

from typing import TYPE_CHECKING

from holdfast.report.studies.clean_accuracy import with_clean_right
from holdfast.report.studies.names import LABELS
from holdfast.report.studies.rows import QUANTILES, differences

if TYPE_CHECKING:
    from pandas import DataFrame

SINGLE = ("seed", "image", "member")  # labels over which means are taken
OUTCOMES = ("found_by", "failed_checks", "sentence")  # words that say what came of a row, and not of what it is
NO_VALUE = ("label", "clean_predicted", "predicted")  # classes: their mean says nothing


def labels_of(table: "DataFrame") -> list[str]:
    """The columns that say what a row is of: known labels, and words."""
    words = [c for c in table.columns if table[c].dtype.kind not in "biufc" and c not in (*LABELS, *OUTCOMES)]
    return [c for c in LABELS if c in table.columns and c not in SINGLE] + words


def values_of(table: "DataFrame") -> list[str]:
    """The columns that are numbers or yes and no."""
    return [c for c in table.columns if table[c].dtype.kind in "biuf" and c not in (*LABELS, *NO_VALUE)]


def summary(table: "DataFrame") -> "DataFrame":
    """Means of every value for every combination of labels, `rows` of each, and for k-LRP the differences' quantiles.

    >>> import pandas
    >>> table = pandas.DataFrame({"treatment": ["hmc", "hmc"], "image": [0, 1], "accuracy": [1.0, 0.0]})
    >>> summary(table).to_dict("records")
    [{'treatment': 'hmc', 'rows': 2, 'accuracy': 0.5}]
    """
    import pandas

    table = with_clean_right(table)
    labels, values = labels_of(table), values_of(table)
    if table.empty or not values:
        return table.iloc[:0]
    if not labels:
        means = table[values].astype(float).mean().to_frame().T
        return means.assign(rows=len(table))[["rows", *values]]
    groups = table.astype(dict.fromkeys(values, float)).groupby(labels, sort=False, dropna=False)
    found = groups[values].mean()
    found.insert(0, "rows", groups.size())
    apart = differences(table) if {"treatment", "k_lrp"} <= set(table.columns) else table.iloc[:0]
    if not apart.empty:
        by = apart.groupby(labels, sort=False).difference
        found["difference_mean"] = by.mean()
        spread = by.quantile(QUANTILES).unstack()
        found = found.join(spread.rename(columns={q: f"difference_q{round(100 * q):02d}" for q in QUANTILES}))
    return pandas.DataFrame(found.reset_index())
