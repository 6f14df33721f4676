"""Verdict: does a claim hold when the procedures are right?

A piece of evidence, in the corrected figures:

    holds            the interval lies where the claim says: on one side of zero; for "zero", "not above", "not below"
                     within the margin. Where a sign is claimed it lies there also once the chance level is taken off,
                     is clear of what is too little to matter, and at least half of the paper's number. It goes further
                     than every control's; where zero is claimed, it lies nearer to it
    holds weaker     the interval lies there, but one of the rest is not so, or a control could not be compared
    does not hold    otherwise, and where the whole interval is too little to matter
    untestable       the figure could not be made, and why

Of numbers that do not hold it is counted how many lie the other way with their whole interval, how many are too little
to matter, and how many are undecided: their interval is too wide to tell, or the paired test is not clear.

A claim holds if all its evidence does. It does not hold if more than half of its evidence does not, or half of it while
none of the rest holds fully. In between it holds weaker. A claim about every case does not hold if one piece of its
evidence does not, and does not hold fully while one is untested. Signs of one claim are judged after Holm's correction
of their paired tests, which are one-sided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from holdfast.scores import holm
from holdfast.studies.reproduce.claim import Claim, Evidence, values
from holdfast.studies.reproduce.estimate import Estimate, NotThere
from holdfast.studies.reproduce.quantities import BEYOND_CHANCE, TESTS, Number, beyond_chance, estimate

if TYPE_CHECKING:
    from pandas import DataFrame

Verdict = Literal["holds", "holds weaker", "does not hold", "untestable"]
Tables = Mapping[tuple[str, str, str], "Mapping[str, DataFrame]"]  # (study, panel, preset) -> tables
CLEAR = 0.05
HALF = 0.5
NOT_RUN = "the study was not run."
SPOKEN = {
    "adversarial": "the adversarially trained network",
    "deep ensemble": "the deep ensemble",
    "deterministic": "the deterministic network",
    "loud": "the network with logits × 100",
    "noise grad": "NoiseGrad",
    "prior draws": "draws from the prior",
    "sgd": "SGD",
    "smooth grad": "SmoothGrad",
}  # controls in a sentence, where their names do not do


@dataclass(frozen=True)
class Finding:
    """One piece of evidence: the numbers and what they say.

    Attributes:
        evidence: what was asked.
        published, corrected: the number under either preset; None where there is none.
        controls: (label, number, whether the claim's own goes further) under the corrected preset.
        verdict, why: in words.
        beyond_chance, chance: under the corrected preset, the number with the chance level taken off, and that level;
            None for numbers that have none.
        lacking: controls that could not be compared.
        untried: controls that the claim asks for since the number was computed.
    """

    evidence: Evidence
    published: Estimate | None
    corrected: Estimate | None
    controls: tuple[tuple[str, Estimate, bool], ...]
    verdict: Verdict
    why: str
    beyond_chance: Estimate | None = None
    chance: float | None = None
    lacking: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """A claim with its findings."""

    claim: Claim
    findings: tuple[Finding, ...]
    verdict: Verdict
    why: str


def judge(claim: Claim, tables: Tables, kept: Sequence[Finding] = ()) -> Judgement:
    """Judge a claim by the tables of the studies.

    Args:
        claim: which.
        tables: of the panels that were computed.
        kept: of an earlier run, for panels that have no tables here. Numbers are taken from it and not its verdicts.
    """
    if claim.untestable:
        return Judgement(claim, (), "untestable", claim.untestable)
    measured = [_measured(one, tables, kept) for evidence in claim.evidence for one in evidence.each()]
    tests = {i: p for i, m in enumerate(measured) if (p := _test(m)) is not None}
    adjusted = dict(zip(tests, map(float, holm(list(tests.values()))) if tests else (), strict=True))
    findings = [_judged(m, adjusted.get(i)) if m.corrected else m for i, m in enumerate(measured)]
    return Judgement(claim, tuple(findings), *_together(claim, findings))


def lies_there(evidence: Evidence, estimate: Estimate) -> bool:
    """Whether a number's whole interval lies where the claim says.

    >>> claimed = Evidence(study="BE-F3", panel="MNIST", quantity="level", expect="not below", margin=0.02)
    >>> lies_there(claimed, Estimate(0.1, -0.01, 0.2, 50)), lies_there(claimed, Estimate(0.1, -0.03, 0.2, 50))
    (True, False)
    """
    above, below = -evidence.margin <= estimate.low, estimate.high <= evidence.margin
    return {
        "positive": estimate.low > 0,
        "negative": estimate.high < 0,
        "zero": above and below,
        "not above": below,
        "not below": above,
    }[evidence.expect]


def lies_opposite(evidence: Evidence, estimate: Estimate) -> bool:
    """Whether a number's whole interval lies where the claim says that it does not.

    >>> claimed = Evidence(study="BE-F3", panel="MNIST", quantity="level", expect="positive")
    >>> lies_opposite(claimed, Estimate(-0.1, -0.2, -0.01, 50)), lies_opposite(claimed, Estimate(0.0, -0.1, 0.1, 50))
    (True, False)
    """
    over, under = estimate.low > evidence.margin, estimate.high < -evidence.margin
    return {
        "positive": estimate.high < 0,
        "negative": estimate.low > 0,
        "zero": over or under,
        "not above": over,
        "not below": under,
    }[evidence.expect]


def _test(finding: Finding) -> float | None:
    """The p-value of a sign that is claimed."""
    return finding.corrected.p if finding.corrected and finding.evidence.expect in TESTS else None


def _measured(evidence: Evidence, tables: Tables, kept: Sequence[Finding]) -> Finding:
    """The numbers of a piece of evidence, not yet judged; where there are none, why."""
    if not any(name[:2] == (evidence.study, evidence.panel) for name in tables):
        known = next((f for f in kept if identity(f.evidence) == identity(evidence)), None)
        if known is not None:
            return _asked_again(evidence, known)
    number = {preset: _number(evidence, tables, preset) for preset in ("published", "corrected")}
    published = number["published"] if isinstance(number["published"], Estimate) else None
    own = number["corrected"]
    if not isinstance(own, Estimate):
        return Finding(evidence, published, None, (), "untestable", f"{own}.")
    own_tables = tables[evidence.study, evidence.panel, "corrected"]
    chance = _chance(evidence, own_tables)
    controls, lacking = _controls(evidence, own_tables, beyond=chance[0] is not None)
    return Finding(evidence, published, own, controls, "untestable", "not judged yet.", *chance, lacking)


def _asked_again(evidence: Evidence, known: Finding) -> Finding:
    """A number of an earlier run, with those controls alone that the claim asks for now."""
    wanted = [control_name(c) for c in evidence.controls]
    controls = tuple(c for c in known.controls if c[0] in wanted)
    lacking = tuple(name for name in known.lacking if name in wanted)
    tried = {*lacking, *(c[0] for c in controls)}
    untried = tuple(name for name in wanted if name not in tried) if known.corrected else ()
    return replace(known, evidence=evidence, controls=controls, lacking=lacking, untried=untried)


def identity(evidence: Evidence) -> dict[str, Any]:
    """What makes a number the one that it is: of which rows and columns, computed how, tested against which side."""
    names = ("study", "panel", "quantity", "table", "column", "other", "per", "over", "within", "only")
    return {name: getattr(evidence, name) for name in (*names, "where", "against", "above", "expect")}


def _number(evidence: Evidence, tables: Tables, preset: str) -> Estimate | str:
    found = tables.get((evidence.study, evidence.panel, preset))
    if found is None:
        return NOT_RUN.rstrip(".")
    try:
        return estimate(evidence, found)
    except NotThere as reason:
        return str(reason)


def _judged(finding: Finding, p: float | None) -> Finding:
    """A finding with numbers, and what they say; `p` is corrected for the other numbers of the claim."""
    evidence, own, beyond = finding.evidence, finding.corrected, finding.beyond_chance
    if why_not := _why_not(evidence, own, p, beyond):
        return replace(finding, verdict="does not hold", why=why_not)
    reasons = _why_weaker(evidence, own, beyond) if evidence.expect in TESTS else []
    against = {
        "it is not clearly ahead of": [name for name, _, above in finding.controls if not above],
        "it could not be compared with": finding.lacking,
        "it has yet to be compared with": finding.untried,
    }
    reasons += [f"{what} {_listed(names)}" for what, names in against.items() if names]
    return replace(
        finding, verdict="holds weaker" if reasons else "holds", why=f"{'; '.join(reasons)}." if reasons else ""
    )


def _chance(evidence: Evidence, tables: "Mapping[str, DataFrame]") -> tuple[Estimate | None, float | None]:
    try:
        return beyond_chance(evidence, tables)
    except NotThere:
        return None, None


def _is_claimed(evidence: Evidence) -> bool:
    """Whether the paper's own number is on the side that is claimed, which not every one is, and of such a size."""
    paper = evidence.paper if evidence.comparable else None
    return paper is not None and (paper > 0 if evidence.expect == "positive" else paper < 0)


def _why_not(evidence: Evidence, own: Estimate, p: float | None, beyond: Estimate | None) -> str:
    """What speaks against a piece of evidence; empty where nothing does."""
    if evidence.expect not in TESTS:
        limits = {"zero": "within {} of zero", "not above": "below {}", "not below": "above -{}"}
        where = limits[evidence.expect].format(f"{evidence.margin:g}")
        return "" if lies_there(evidence, own) else f"its interval is not {where}{_none_of_it(evidence, own)}."
    side = "above" if evidence.expect == "positive" else "below"
    if not lies_there(evidence, own):
        then = ", though it is once the chance level is taken off"
        then = then if beyond and lies_there(evidence, beyond) else _none_of_it(evidence, own)
        return f"its interval is not {side} zero{then}."
    if p is not None and p >= CLEAR:
        return f"its interval is {side} zero, but the paired test is not clear after Holm's correction (p = {p:.2g})."
    if max(abs(own.low), abs(own.high)) <= evidence.least:
        return f"its whole interval is within {evidence.least:g} of zero, which is too little to matter."
    return ""


def _none_of_it(evidence: Evidence, own: Estimate) -> str:
    return ", and no part of it is" if lies_opposite(evidence, own) else ""


def _why_weaker(evidence: Evidence, own: Estimate, beyond: Estimate | None) -> list[str]:
    reasons = []
    if min(abs(own.low), abs(own.high)) <= evidence.least:
        reasons.append(f"it may be less than {evidence.least:g}, which is too little to matter")
    if beyond is not None and not lies_there(evidence, beyond):
        reasons.append("its interval is not there once the chance level is taken off")
    if _is_claimed(evidence) and own.value / evidence.paper < HALF:
        reasons.append("it is less than half of the paper's")
    return reasons


def _controls(
    evidence: Evidence, tables: "Mapping[str, DataFrame]", beyond: bool
) -> tuple[tuple[tuple[str, Estimate, bool], ...], tuple[str, ...]]:
    """(label, number, whether the claim's own goes further) of each control, and which could not be compared.

    With `beyond` it must go further with the chance level taken off, too.
    """
    if not evidence.controls:
        return (), ()
    of = [Number(evidence, tables)]
    if beyond:
        of.append(Number(evidence.model_copy(update={"column": BEYOND_CHANCE[evidence.column]}), tables))
    found, lacking = [], []
    for control in evidence.controls:
        try:
            number = of[0].estimate(control)
            gaps = [one.advantage(control) for one in of]
        except NotThere:
            lacking.append(control_name(control))
            continue
        found.append((control_name(control), number, all(gap.low > 0 for gap in gaps)))
    return tuple(found), tuple(lacking)


def control_name(control: Mapping[str, Any]) -> str:
    """A control in a few words.

    >>> control_name({"attack": "random_noise"})
    'random noise'
    """
    return values(control).replace("_", " ")


def _listed(controls: Sequence[str]) -> str:
    """Controls in a sentence.

    >>> _listed(["smooth grad", "loud", "random noise"])
    'SmoothGrad, the network with logits × 100 and random noise'
    """
    *rest, last = [SPOKEN.get(name, name) for name in controls]
    return f"{', '.join(rest)} and {last}" if rest else last


def _together(claim: Claim, findings: list[Finding]) -> tuple[Verdict, str]:
    tested = [f for f in findings if f.verdict != "untestable"]
    if not tested:
        return "untestable", findings[0].why if findings else "no study speaks of it."
    count = {v: sum(f.verdict == v for f in tested) for v in ("holds", "holds weaker", "does not hold")}
    several = {"holds": "hold", "holds weaker": "hold weaker", "does not hold": "do not hold"}
    summary = ", ".join(f"{n} of {len(tested)} {v if n == 1 else several[v]}" for v, n in count.items() if n)
    summary += _how_not([f for f in tested if f.verdict == "does not hold"])
    if len(tested) < len(findings):
        summary += f"; {len(findings) - len(tested)} of its {len(findings)} numbers could not be tested"
    if claim.every and count["does not hold"]:
        return "does not hold", f"it is said of every case; {summary}."
    if count["holds"] == len(tested) and not (claim.every and len(tested) < len(findings)):
        return "holds", f"{summary}."
    if count["does not hold"] + (0 if count["holds"] else 0.5) > len(tested) / 2:  # half is enough if none holds fully
        return "does not hold", f"{summary}."
    return "holds weaker", f"{summary}."


def _how_not(findings: Sequence[Finding]) -> str:
    """Of numbers that do not hold, how many speak against the claim, and how many cannot tell."""
    known = [(f.evidence, f.corrected) for f in findings if f.corrected]
    opposite = sum(lies_opposite(*one) for one in known)
    small = sum(max(abs(own.low), abs(own.high)) <= e.least for e, own in known if not lies_opposite(e, own))
    counts = {"the other way": opposite, "too little": small, "undecided": len(known) - opposite - small}
    said = ", ".join(f"{n} {how}" for how, n in counts.items() if n)
    return f" ({said})" if said else ""
