"""Sides: how many numbers lie where a claim says with their whole interval, as published and corrected, in words."""

from collections.abc import Iterable, Sequence

from holdfast.report.wording import capital, listing
from holdfast.studies.reproduce.verdict import Finding, lies_there

PRESETS = {"published": "as published", "corrected": "corrected"}
Count = tuple[int, int]  # how many lie there, of how many


def count(findings: Iterable[Finding], which: str) -> Count:
    """How many numbers lie on the claimed side, of those that there are.

    Args:
        findings: of one claim or several.
        which: of their numbers: "published", "corrected" or "beyond_chance".
    """
    known = [(f.evidence, number) for f in findings if (number := getattr(f, which)) is not None]
    return sum(lies_there(*one) for one in known), len(known)


def counts(findings: Sequence[Finding]) -> dict[str, Count]:
    """As published and corrected, of the numbers that each has."""
    return {preset: count(findings, preset) for preset in PRESETS}


def of_claim(findings: Sequence[Finding]) -> str:
    """A claim's line; empty where it has no numbers.

    >>> from holdfast.studies.reproduce.claim import Evidence
    >>> from holdfast.studies.reproduce.estimate import Estimate
    >>> e = Evidence(study="BE-F3", panel="MNIST", quantity="level", expect="positive")
    >>> low, high = Estimate(0.1, -0.1, 0.3, 50), Estimate(0.5, 0.3, 0.7, 50)
    >>> of_claim([Finding(e, high, low, (), "does not hold", "", beyond_chance=high)])
    'On the claimed side: 1 of 1 as published and 0 of 1 corrected (1 of 1 once the chance level is taken off).'
    >>> of_claim([Finding(e, low, low, (), "does not hold", "")]).partition(". ")[2]
    'The released procedure does not show it here either.'
    """
    found, beyond = counts(findings), count(findings, "beyond_chance")
    said = [f"{there} of {total} {PRESETS[preset]}" for preset, (there, total) in found.items() if total]
    if not said:
        return ""
    chance = f" ({beyond[0]} of {beyond[1]} once the chance level is taken off)" if beyond[1] else ""
    return f"On the claimed side: {listing(said)}{chance}.{_not_released(**found)}"


def _not_released(published: Count, corrected: Count) -> str:
    """That the procedure as released does not show a claim: then its corrections cannot be what speaks against it."""
    most = lambda there, total: 2 * there > total
    if not published[1] or most(*published):
        return ""
    return f" The released procedure does not show it here{'' if most(*corrected) else ' either'}."


def of_paper(findings: Sequence[Finding]) -> str:
    """Of all numbers of a paper's claims, how many lie where it says; empty where there are none.

    >>> from holdfast.studies.reproduce.claim import Evidence
    >>> from holdfast.studies.reproduce.estimate import Estimate
    >>> e = Evidence(study="BE-F3", panel="MNIST", quantity="level", expect="positive")
    >>> low, high = Estimate(0.1, -0.1, 0.3, 50), Estimate(0.5, 0.3, 0.7, 50)
    >>> both, alone = (Finding(e, first, low, (), "does not hold", "") for first in (high, None))
    >>> of_paper([both, both, alone])
    'Of 2 computed both ways, 2 as published and 0 corrected; of 1 computed corrected alone, 0.'
    """
    said = []
    for presets in (("published", "corrected"), ("published",), ("corrected",)):
        if own := _computed(findings, presets):
            there = [count(own, preset)[0] for preset in presets]
            if len(presets) > 1:
                how = "both ways"
                words = listing([f"{n} {PRESETS[preset]}" for n, preset in zip(there, presets, strict=True)])
            else:
                how, words = f"{PRESETS[presets[0]]} alone", str(there[0])
            said.append(f"of {len(own)} computed {how}, {words}")
    return f"{capital('; '.join(said))}." if said else ""


def _computed(findings: Iterable[Finding], presets: Sequence[str]) -> list[Finding]:
    """Those that were computed in these ways, and in no other."""
    return [f for f in findings if all((getattr(f, preset) is not None) == (preset in presets) for preset in PRESETS)]
