"""Rows: differences to the deterministic network, image by image, and their quantiles at every setting."""

from collections.abc import Mapping
from functools import cached_property
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


class Lookup:
    """The rows of a table by their labels, as `chosen` gives them, for one that is asked many times.

    >>> import pandas
    >>> lookup = Lookup(pandas.DataFrame({"k": [5, 20, 20], "rule": ["a", "a", "b"], "value": [1, 2, 3]}))
    >>> lookup({"k": 20, "rule": "b", "draws": 3}).value.tolist(), lookup.values("value", {"k": 20}).tolist()
    ([3], [2, 3])
    """

    def __init__(self, table: "DataFrame") -> None:
        self.table = table
        self._places: dict[tuple[str, ...], Mapping[Any, ndarray]] = {}

    def __call__(self, labels: Mapping[str, Any]) -> "DataFrame":
        """The rows with these labels; a label that is no column of the table does not count."""
        places = self._found(labels)
        return self.table if places is None else self.table.take(places)

    def values(self, column: str, labels: Mapping[str, Any]) -> "ndarray":
        """One column of these rows."""
        places = self._found(labels)
        return self._columns[column] if places is None else self._columns[column][places]

    @cached_property
    def _columns(self) -> "dict[str, ndarray]":
        return {name: self.table[name].to_numpy() for name in self.table.columns}

    def _found(self, labels: Mapping[str, Any]) -> "ndarray | None":
        """Their places in the table; None for all."""
        import numpy as np

        names = tuple(name for name in labels if name in self.table.columns)
        if not names:
            return None
        if names not in self._places:
            by = list(names) if len(names) > 1 else names[0]
            self._places[names] = self.table.groupby(by, sort=False, observed=True).indices
        wanted = tuple(labels[name] for name in names)
        return self._places[names].get(wanted if len(wanted) > 1 else wanted[0], np.empty(0, int))


def present(table: "DataFrame", column: str) -> list[Any]:
    """Values of a column in the order of the table; one that stands for all where there is no such column."""
    return table[column].unique().tolist() if column in table.columns and not table.empty else [None]


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
