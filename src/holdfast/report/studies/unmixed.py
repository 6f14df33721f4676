"""Unmixed: what must be known of the chains before any verdict that rests on them is read, from their own diagnoses."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.diagnostics.mixing import GOOD, LOCAL, PARTLY
from holdfast.report.wording import THIN, listing, number, plain

FAMILIES = ("log_probability", "relevance")


def unmixed(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Which chains have not mixed, and what that means; empty where all have, or where there are none.

    Args:
        rows: (name of the ensemble, its row of the table `posteriors`).

    >>> row = {"chains": 2.0, "mixing": "ensemble of 2 local chains", "kept": 20, "distinct": 13, "said": "It drifts."}
    >>> row |= {f"{f}_{n}": v for f in FAMILIES for n, v in (("rhat_90", 1.9), ("ess_50", 8.2))}
    >>> unmixed([("HMC, MNIST, fc2", row)])[:96]
    'The diagnosed posteriors that were sampled by chains have not mixed: the diagnosis says “ensembl'
    """
    chained = {title: row for title, row in rows if _known(row.get("chains"))}
    own = {title: row for title, row in chained.items() if str(row["mixing"]).startswith((LOCAL, PARTLY))}
    if not own:
        return ""
    many = "The" if len(own) == len(chained) else f"{len(own)} of {len(chained)}"
    verdicts = listing(dict.fromkeys(f"“{row['mixing']}”" for row in own.values()))
    limit = _span((row[f"{f}_rhat_90"] for row in own.values() for f in FAMILIES), 2)
    worth = _span((row[f"{f}_ess_50"] for row in own.values() for f in FAMILIES), 0)
    return (
        f"{many} diagnosed posteriors that were sampled by chains have not mixed: the diagnosis says {verdicts}. "
        f"R-hat of what they compute (log probabilities, relevance) is up to {limit} for 90{THIN}% of it, where "
        f"{GOOD:g} would be mixed, and the effective sample size is {worth}. "
        f"{'; '.join(_of(title, row) for title, row in own.items())}. "
        "What is said of them is said of these draws, not of the posterior."
    )


def _of(title: str, row: Mapping[str, Any]) -> str:
    drifts = ", and its chains still drift" if "drift" in str(row.get("said", "")) else ""
    return f"{title}: {plain(int(row['distinct']))} of {plain(int(row['kept']))} draws are distinct{drifts}"


def _span(values: Iterable[float], digits: int) -> str:
    known = [float(v) for v in values if _known(v)]
    if not known:
        return "unknown"
    low, high = number(min(known), digits), number(max(known), digits)
    return low if low == high else f"{low} to {high}"


def _known(value: Any) -> bool:
    return value is not None and value != "" and math.isfinite(float(value))
