"""Evidence: what a number of a claim is in words: what was measured, of which treatment, against what, on what data."""

from collections.abc import Mapping
from typing import Any

from holdfast.report.studies.columns import column_title
from holdfast.report.studies.names import PARTS, SCORES, VECTORS, data_title, in_words, treatment_title, value_title
from holdfast.report.wording import the
from holdfast.studies.reproduce.claim import Evidence
from holdfast.studies.reproduce.study import studies

AXES = {
    "difference": "{column} minus that of {against}",
    "level": "{column}: mean over images",
    "gap": "{column} minus {other}: mean over images",
    "correlation": "Spearman's correlation of {column} and {other}",
    "trend": "{column}: slope over the logarithm of {over}",
    "association": "{column} and {other}: rank correlation over networks",
}
SHORT = {  # the same in a cell of a table
    "difference": "{column}: {own} minus {against}",
    "level": "{column}: {own}",
    "gap": "{column} minus {other}: {own}",
    "correlation": "Spearman's correlation of {column} and {other}: {own}",
    "trend": "{column}, slope over the log of {over}: {own}",
    "association": "rank correlation of {column} and {other} over networks: {own}",
}
OVER = {
    "draws": "the number of draws", "train": "the training images", "width": "the width", "spread": "the noise"
}  # fmt: skip
WITHIN = {"train": "trained on equally many images"}
SAID_BY_COLUMN = ("distance", "score", "of", "part")  # labels that stand with the column


def axis_in_words(evidence: Evidence) -> str:
    """What stands below the axis of a number's drawing."""
    against = in_words(evidence.against)
    if set(evidence.against) == {"treatment"}:
        against = the(treatment_title(evidence.against["treatment"]))
    return AXES.get(evidence.quantity, f"{{column}}: {evidence.quantity}").format(**_columns(evidence), against=against)


def number_in_words(evidence: Evidence, here: Mapping[int, int] | None = None) -> str:
    """What a number is, in a few words.

    Args:
        evidence: of one number: no lists among its labels.
        here: number of draws in the paper -> here.

    >>> from holdfast.studies.reproduce.claim import claims
    >>> number_in_words(next(claims()["BE-C1"].evidence[0].each()), {100: 20})
    'k-LRP: HMC minus deterministic, FGSM, 100 draws (here 20), k = 20\\u202f%, last layer, LRP-ε; MNIST (BE-F3)'
    """
    where = {k: v for k, v in evidence.where.items() if k not in SAID_BY_COLUMN}
    shared = {k: v for k, v in where.items() if k not in evidence.against and k != "treatment"}
    own = _lower({k: where[k] for k in ("treatment", *evidence.against) if k in where})
    against = _lower({k: v for k, v in evidence.against.items() if k not in SAID_BY_COLUMN})
    if evidence.against and not against:  # what is compared is what the column is of
        own, against = f"{own}, {_what(evidence.where)}", _what(evidence.against)
        column = _columns(evidence)["column"]
    else:
        what = _what(evidence.where)
        column = _columns(evidence)["column"] + (f" ({what})" if what else "")
    words = SHORT[evidence.quantity].format(**_columns(evidence) | {"column": column}, own=own, against=against)
    kept = {"kept": "images whose decision stayed", "changed": "images whose decision changed"}.get(evidence.only)
    above = [f"{column_title(k)} above {v:g}" for k, v in evidence.above.items()]
    within = WITHIN.get(evidence.within, f"of the same {column_title(evidence.within)}") if evidence.within else None
    rest = [*(value_title(k, v, here) for k, v in shared.items()), *above, *(one for one in (kept, within) if one)]
    return f"{', '.join([words.removesuffix(': '), *rest])}; {_data(evidence)} ({evidence.study})"


def _data(evidence: Evidence) -> str:
    """The data set by its name, or the panel by its title where the data have none."""
    panels = studies()[evidence.study].panels if evidence.study in studies() else ()
    data = next((panel.data for panel in panels if panel.title == evidence.panel), "")
    return data_title(data) if data_title(data) != data else evidence.panel


def _columns(evidence: Evidence) -> dict[str, str]:
    kind = str(evidence.where.get("score", evidence.where.get("distance", "")))
    column = SCORES.get(kind, kind.replace("_", " ")) if evidence.column == "value" and kind else ""
    column = column or column_title(evidence.column)
    return {
        "column": column + (f" relative to {column_title(evidence.per)}" if evidence.per else ""),
        "other": SCORES.get(evidence.other, column_title(evidence.other)),
        "over": OVER.get(evidence.over, column_title(evidence.over)),
    }


def _what(where: Mapping[str, Any]) -> str:
    """Which vector, and which part of it, a column is of."""
    words = (VECTORS.get(str(where.get("of", "")), ""), PARTS.get(str(where.get("part", "")), ""))
    return ", ".join(word for word in words if word)


def _lower(labels: Mapping[str, Any]) -> str:
    """Labels in the middle of a sentence: no capital but those of names."""
    title = in_words(labels)
    is_name = not title[1:2].islower() or title.startswith(("SmoothGrad", "NoiseGrad"))
    return title if is_name else title[:1].lower() + title[1:]
