"""Verdict: does a claim hold when the procedures are right?

A piece of evidence, in the corrected figures:

    holds            the interval lies on the claimed side of zero (for "zero": within the margin), also once the chance
                     level is taken off; the number is at least half of the paper's, and it is above every control's
    holds weaker     the interval lies there, but not once the chance level is taken off, or the number is less than
                     half of the paper's, or a control does as well
    does not hold    otherwise
    untestable       the figure could not be made, and why

A claim holds if all its evidence does, does not hold if more than half of its evidence does not, and holds weaker in
between. Intervals of one claim are judged after Holm's correction of the paired tests where there are such tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from holdfast.scores import holm
from holdfast.studies.reproduce.claim import Claim, Evidence, values
from holdfast.studies.reproduce.quantities import Estimate, NotThere, advantage, beyond_chance, estimate

if TYPE_CHECKING:
    from pandas import DataFrame

Verdict = Literal["holds", "holds weaker", "does not hold", "untestable"]
Tables = Mapping[tuple[str, str, str], "Mapping[str, DataFrame]"]  # (study, panel, preset) -> tables
CLEAR = 0.05
HALF = 0.5


@dataclass(frozen=True)
class Finding:
    """One piece of evidence: the numbers and what they say.

    Attributes:
        evidence: what was asked.
        published, corrected: the number under either preset; None where there is none.
        controls: (label, number, whether the claim's own is above it) under the corrected preset.
        verdict, why: in words.
        beyond_chance, chance: under the corrected preset, the number with the chance level taken off, and that level;
            None for numbers that have none.
    """

    evidence: Evidence
    published: Estimate | None
    corrected: Estimate | None
    controls: tuple[tuple[str, Estimate, bool], ...]
    verdict: Verdict
    why: str
    beyond_chance: Estimate | None = None
    chance: float | None = None


@dataclass(frozen=True)
class Judgement:
    """A claim with its findings."""

    claim: Claim
    findings: tuple[Finding, ...]
    verdict: Verdict
    why: str


def judge(claim: Claim, tables: Tables) -> Judgement:
    """Judge a claim by the tables of the studies."""
    if claim.untestable:
        return Judgement(claim, (), "untestable", claim.untestable)
    pieces = [one for evidence in claim.evidence for one in evidence.each()]
    numbers = [{preset: _number(e, tables, preset) for preset in ("published", "corrected")} for e in pieces]
    tests = [n["corrected"].p for n in numbers if isinstance(n["corrected"], Estimate) and n["corrected"].p is not None]
    corrected = iter(holm(tests) if tests else [])
    findings = []
    for evidence, number in zip(pieces, numbers, strict=True):
        own = number["corrected"]
        p = float(next(corrected)) if isinstance(own, Estimate) and own.p is not None else None
        findings.append(_finding(evidence, number, p, tables))
    return Judgement(claim, tuple(findings), *_together(findings))


def _number(evidence: Evidence, tables: Tables, preset: str) -> Estimate | str:
    found = tables.get((evidence.study, evidence.panel, preset))
    if found is None:
        return "the study was not run"
    try:
        return estimate(evidence, found)
    except NotThere as reason:
        return str(reason)


def _finding(evidence: Evidence, number: Mapping[str, Any], p: float | None, tables: Tables) -> Finding:
    published = number["published"] if isinstance(number["published"], Estimate) else None
    own = number["corrected"]
    if not isinstance(own, Estimate):
        return Finding(evidence, published, None, (), "untestable", f"{own}.")
    own_tables = tables[evidence.study, evidence.panel, "corrected"]
    controls, chance = tuple(_controls(evidence, own_tables)), _chance(evidence, own_tables)
    if not _is_there(evidence, own, p):
        return Finding(
            evidence, published, own, controls, "does not hold", _why_not(evidence, own, p, chance[0]), *chance
        )
    reasons = []
    if chance[0] is not None and evidence.expect != "zero" and not _beyond(evidence, chance[0]):
        reasons.append("its interval is not there once the chance level is taken off")
    if _is_claimed(evidence.expect, evidence.paper) and own.value / evidence.paper < HALF:
        reasons.append("it is less than half of the paper's")
    equal = [name for name, _, above in controls if not above]
    if equal:
        reasons.append(f"{' and '.join(equal)} {'do' if len(equal) > 1 else 'does'} as well")
    verdict: Verdict = "holds weaker" if reasons else "holds"
    why = f"{'; '.join(reasons)}." if reasons else ""
    return Finding(evidence, published, own, controls, verdict, why, *chance)


def _chance(evidence: Evidence, tables: "Mapping[str, DataFrame]") -> tuple[Estimate | None, float | None]:
    try:
        return beyond_chance(evidence, tables)
    except NotThere:
        return None, None


def _is_claimed(expect: str, paper: float | None) -> bool:
    """Whether the paper's own number lies on the side that is claimed; not every one does."""
    return paper is not None and (paper > 0 if expect == "positive" else expect == "negative" and paper < 0)


def _is_there(evidence: Evidence, own: Estimate, p: float | None) -> bool:
    if evidence.expect == "zero":
        return -evidence.margin <= own.low and own.high <= evidence.margin
    return _beyond(evidence, own) and (p is None or p < CLEAR)


def _beyond(evidence: Evidence, own: Estimate) -> bool:
    return own.low > 0 if evidence.expect == "positive" else own.high < 0


def _why_not(evidence: Evidence, own: Estimate, p: float | None, beyond: Estimate | None) -> str:
    if evidence.expect == "zero":
        return f"its interval is not within {evidence.margin:g} of zero."
    side = "above" if evidence.expect == "positive" else "below"
    if _beyond(evidence, own):
        return f"its interval is {side} zero, but the paired test is not clear after Holm's correction (p = {p:.2g})."
    if beyond is not None and _beyond(evidence, beyond):
        return f"its interval is not {side} zero, though it is once the chance level is taken off."
    return f"its interval is not {side} zero."


def _controls(evidence: Evidence, tables: "Mapping[str, DataFrame]") -> Any:
    sign = -1 if evidence.expect == "negative" else 1
    for control in evidence.controls:
        try:
            number = estimate(evidence, tables, control)
            gap = advantage(evidence, tables, control)
        except NotThere:
            continue
        yield values(control).replace("_", " "), number, (gap.low if sign > 0 else -gap.high) > 0


def _together(findings: list[Finding]) -> tuple[Verdict, str]:
    tested = [f for f in findings if f.verdict != "untestable"]
    if not tested:
        return "untestable", findings[0].why if findings else "no study speaks of it."
    count = {v: sum(f.verdict == v for f in tested) for v in ("holds", "holds weaker", "does not hold")}
    several = {"holds": "hold", "holds weaker": "hold weaker", "does not hold": "do not hold"}
    summary = ", ".join(f"{n} of {len(tested)} {v if n == 1 else several[v]}" for v, n in count.items() if n)
    if len(tested) < len(findings):
        summary += f"; {len(findings) - len(tested)} of its {len(findings)} numbers could not be tested"
    if count["holds"] == len(tested):
        return "holds", f"{summary}."
    if count["does not hold"] > len(tested) / 2:
        return "does not hold", f"{summary}."
    return "holds weaker", f"{summary}."
