"""Clean accuracy: how often the networks of a panel are right before anything attacks them, from any of its tables."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from holdfast.report.studies.names import ordered, treatment_title
from holdfast.report.wording import THIN, number

if TYPE_CHECKING:
    from pandas import DataFrame

TABLES = {  # table -> the column whose mean over images it is
    "predictions": "clean_right", "accuracy": "clean_right", "norms": "right", "networks": "accuracy",
    "alignment": "correct", "localisation": "correct", "distances": "correct", "removal": "correct",
    "properties": "correct",
}  # fmt: skip
VARIED = (
    "width", "depth", "activation", "train", "warm_up", "kept_draws", "learning_rate", "epochs", "step", "trajectory",
)  # fmt: skip
POSTERIORS = "posteriors"  # of the ensembles alone, on images of its own
NOT_KEPT = "not kept with this figure"
PRESETS = {"published": "as published", "corrected": "corrected"}


def clean_accuracy(tables: "Mapping[str, Mapping[str, DataFrame]]") -> list[str]:
    """A sentence for each preset that has tables with it.

    Args:
        tables: preset -> name -> rows, image by image or their means.

    >>> import pandas
    >>> rows = {"treatment": ["hmc", "hmc"], "label": [1, 2], "clean_predicted": [1, 1]}
    >>> clean_accuracy({"published": {"predictions": pandas.DataFrame(rows)}})
    ['Accuracy on clean images, as published: HMC 50.0\\u202f%.']
    """
    lines = []
    for preset, named in tables.items():
        words = ", ".join(_of(named))
        if not words and "predictions" in named:  # kept before its means had it
            known = ", ".join(_of_ensembles(named))
            words = f"{known}; that of other networks was {NOT_KEPT}" if known else NOT_KEPT
        if words:
            lines.append(f"Accuracy on clean images, {PRESETS.get(preset, preset)}: {words}.")
    return lines


def with_clean_right(table: "DataFrame") -> "DataFrame":
    """The table with `clean_right`, where it has what that follows from."""
    if "clean_right" in table.columns or not {"label", "clean_predicted"} <= set(table.columns):
        return table
    return table.assign(clean_right=table.label == table.clean_predicted)


def _of(named: "Mapping[str, DataFrame]") -> Iterator[str]:
    """Treatment by treatment, from the first table that says it."""
    for name, column in TABLES.items():
        table = with_clean_right(named[name]) if name in named else None
        if table is None or not {"treatment", column} <= set(table.columns) or not table[column].notna().any():
            continue
        for treatment in ordered(table.treatment):
            own = table[(table.treatment == treatment) & table[column].notna()]
            if not own.empty:
                yield f"{treatment_title(treatment)} {_span(own, column)}"
        return


def _of_ensembles(named: "Mapping[str, DataFrame]") -> Iterator[str]:
    table = named.get(POSTERIORS)
    for row in table.to_dict("records") if table is not None and "accuracy" in table.columns else ():
        yield f"{treatment_title(row['treatment'])} {_percent(row['accuracy'])}"


def _span(own: "DataFrame", column: str) -> str:
    """Of one network, or the lowest to the highest of several; with all draws where there are several numbers."""
    from numpy import average

    if "draws" in own.columns and own.draws.notna().any():
        own = own[own.draws == own.draws.max()]
    varied = [c for c in VARIED if c in own.columns and own[c].nunique() > 1]
    groups = [group for _, group in own.groupby(varied, dropna=False)] if varied else [own]
    means = [float(average(group[column], weights=group.rows if "rows" in group else None)) for group in groups]
    low, high = _percent(min(means)), _percent(max(means))
    return low if low == high else f"{low} to {high}"


def _percent(share: float) -> str:
    return f"{number(100 * share, 1)}{THIN}%"
