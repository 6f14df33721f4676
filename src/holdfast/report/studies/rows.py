"""Rows: differences to the deterministic network, image by image, and their quantiles at every setting."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.report.studies.names import BASE

if TYPE_CHECKING:
    from numpy import ndarray
    from pandas import DataFrame

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
CONTROL = "random_noise"
VANISHES = 20  # how much wider one axis must be for another not to follow it
PAIR = ("attack", "rule", "layer", "epsilon", "draws", "k", "seed", "image")


def differences(table: "DataFrame", column: str = "k_lrp", base: str = BASE) -> "DataFrame":
    """Every row but those of the base, with `difference`: its column minus that of the base on the same image.

    >>> import pandas
    >>> rows = {"treatment": ["deterministic", "hmc"], "image": [0, 0], "k_lrp": [0.25, 0.75]}
    >>> differences(pandas.DataFrame(rows)).difference.tolist()
    [0.5]
    """
    if table.empty or not {column, "image", "treatment"} <= set(table.columns):
        return table.iloc[:0].assign(difference=[])
    keys = [c for c in PAIR if c in table.columns]
    own = table[table.treatment == base].groupby(keys)[column].mean().rename("base").reset_index()
    found = table[table.treatment != base].merge(own, on=keys, how="inner")
    return found.assign(difference=found[column] - found["base"]).dropna(subset="difference")


def chosen(table: "DataFrame", labels: Mapping[str, Any]) -> "DataFrame":
    """The rows with these labels; a label that is no column of the table does not count."""
    for name, value in labels.items():
        if name in table.columns:
            table = table[table[name] == value]
    return table


def present(table: "DataFrame", column: str) -> list[Any]:
    """Values of a column in the order of the table; one that stands for all where there is no such column."""
    return list(dict.fromkeys(table[column])) if column in table.columns and not table.empty else [None]


def quantiles(values: "ndarray") -> list[float] | None:
    """The five numbers of a box: 5, 25, 50, 75, 95 percent; None where there are no values."""
    import numpy as np

    return np.quantile(values, QUANTILES).tolist() if len(values) else None


def shared(spans: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Limits of the axes of drawings that stand side by side: the same, unless one would vanish in the other's.

    >>> shared({"a": (0.0, 1.0), "b": (-1.0, 0.5)})["a"] == shared({"a": (0.0, 1.0), "b": (-1.0, 0.5)})["b"]
    True
    >>> shared({"a": (0.0, 1.0), "b": (0.0, 1e-9)})["b"][1] < 1e-8
    True
    """
    widths = [high - low for low, high in spans.values()]
    if widths and max(widths) <= VANISHES * min(widths):
        ends = min(low for low, _ in spans.values()), max(high for _, high in spans.values())
        spans = dict.fromkeys(spans, ends)
    return {k: (low - 0.04 * (high - low or 1), high + 0.04 * (high - low or 1)) for k, (low, high) in spans.items()}
