"""Unmixed: what must be known of the chains before any verdict that rests on them is read, from their own diagnoses."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.diagnostics.mixing import GOOD, LOCAL, PARTLY
from holdfast.report.wording import THIN, listing, number, plain

FAMILIES = ("log_probability", "relevance")
Fits = Mapping[str, Sequence[dict[str, Any]]]  # name of a kind of ensemble -> rows of the table `posteriors`


def unmixed(fits: Fits) -> str:
    """Which chains have not mixed, and what that means; empty where all have, or where there are none.

    >>> row = {"chains": 2.0, "mixing": "ensemble of 2 local chains", "kept": 20, "distinct": 13, "said": "It drifts."}
    >>> row |= {f"{f}_{n}": v for f in FAMILIES for n, v in (("rhat_90", 1.9), ("ess_50", 8.2))}
    >>> unmixed({"HMC, MNIST, fc2": [row]})[:96]
    'The diagnosed posteriors that were sampled by chains have not mixed: the diagnosis says “ensembl'
    """
    chained = [row for rows in fits.values() for row in rows if is_known(row.get("chains"))]
    bad = {title: [row for row in rows if _is_unmixed(row)] for title, rows in fits.items()}
    own = [row for rows in bad.values() for row in rows]
    if not own:
        return ""
    many = "The" if len(own) == len(chained) else f"{len(own)} of {len(chained)}"
    verdicts = listing(dict.fromkeys(f"“{row['mixing']}”" for row in own))
    limit = _span((row[f"{f}_rhat_90"] for row in own for f in FAMILIES), 2)
    worth = _span((row[f"{f}_ess_50"] for row in own for f in FAMILIES), 0)
    return (
        f"{many} diagnosed posteriors that were sampled by chains have not mixed: the diagnosis says {verdicts}. "
        f"R-hat of what they compute (log probabilities, relevance) is up to {limit} for 90{THIN}% of it, where "
        f"{GOOD:g} would be mixed, and the effective sample size is {worth}. "
        f"Distinct draws: {'; '.join(_of(title, rows) for title, rows in bad.items() if rows)}.{_drifting(own)} "
        "What is said of them is said of these draws, not of the posterior."
    )


def is_known(value: Any) -> bool:
    """Whether a cell of the table holds a number."""
    return value is not None and value != "" and math.isfinite(float(value))


def _is_unmixed(row: Mapping[str, Any]) -> bool:
    return is_known(row.get("chains")) and str(row["mixing"]).startswith((LOCAL, PARTLY))


def _of(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    distinct, kept = (_span((row[name] for row in rows), 0) for name in ("distinct", "kept"))
    return f"{title}, {distinct} of {kept}{f' in {plain(len(rows))} fits' if len(rows) > 1 else ''}"


def _drifting(rows: Sequence[Mapping[str, Any]]) -> str:
    many = sum("drift" in str(row.get("said", "")) for row in rows)
    return f" The chains of {plain(many)} of {plain(len(rows))} still drift." if many else ""


def _span(values: Iterable[float], digits: int) -> str:
    known = [float(v) for v in values if is_known(v)]
    if not known:
        return "unknown"
    low, high = number(min(known), digits), number(max(known), digits)
    return low if low == high else f"{low} to {high}"
