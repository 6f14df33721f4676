"""Cards: what became of every claim, in words: the state of each, the headline, the counts by paper."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from holdfast.report.studies import sides
from holdfast.report.studies.draws import draws_of_panels
from holdfast.report.studies.forest import Forest, HereOf, forests
from holdfast.report.studies.names import sentence
from holdfast.report.wording import capital, listing
from holdfast.studies.reproduce.claim import Claim, claims
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import PAPERS
from holdfast.studies.reproduce.verdict import Finding, Judgement

STATES = {  # state: (colour of the palette, sign, verb for one, verb for several)
    "holds": ("good", "✓", "holds", "hold"),
    "holds weaker": ("warn", "◐", "holds weaker", "hold weaker"),
    "does not hold": ("bad", "✗", "does not hold", "do not hold"),
    "failed": ("bad", "!", "could not be computed", "could not be computed"),
    "untestable": ("muted", "–", "is untestable", "are untestable"),
    "not run": ("muted", "○", "was not run", "were not run"),
}
THEORY = "TH"  # no paper of its own
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@dataclass(frozen=True, eq=False)
class Card:
    """A claim with what became of it.

    Attributes:
        claim: what is claimed.
        judgement: None where none of its studies was part of this run.
        state: a key of `STATES`.
        why: in words.
        here: (study, panel) -> number of draws in the paper -> here.
    """

    claim: Claim
    judgement: Judgement | None
    state: str
    why: str
    here: HereOf = lambda study, panel: {}

    @property
    def colour(self) -> str:
        """Its state's colour."""
        return STATES[self.state][0]

    @property
    def sign(self) -> str:
        """Its state's sign."""
        return STATES[self.state][1]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Its numbers; empty where there are none."""
        return self.judgement.findings if self.judgement else ()

    @property
    def sides(self) -> str:
        """How many of its numbers lie on the claimed side, in words; empty where there are none."""
        return sides.of_claim(self.findings)

    @cached_property
    def forests(self) -> list[Forest]:
        """Drawings of its numbers; empty where there are none."""
        shown = [f for f in self.findings if f.published or f.corrected]
        return forests(self.judgement, self.here) if shown and self.judgement else []

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return self.claim.id.lower()


def cards(found: Reproduction) -> list[Card]:
    """All claims of the papers that the run is about, those included that it did not reach."""
    judged = {j.claim.id: j for j in found.judgements}
    papers = {s.paper for s in found.studies} | {j.claim.paper for j in found.judgements}
    known = {c.id: c for c in (*claims().values(), *(j.claim for j in found.judgements)) if c.paper in papers}
    order, here = list(PAPERS), draws_of_panels(found)
    shown = (replace(_card(found, c, judged.get(c.id)), here=here) for c in known.values())
    return sorted(shown, key=lambda c: order.index(c.claim.paper))


def _card(found: Reproduction, claim: Claim, judgement: Judgement | None) -> Card:
    if judgement is None:
        asked = ", ".join(dict.fromkeys(e.study for e in claim.evidence)) or "a study"
        return Card(claim, None, "not run", f"It rests on {asked}, which this run does not contain.")
    if judgement.verdict != "untestable" or claim.untestable:
        return Card(claim, judgement, judgement.verdict, sentence(capital(judgement.why)))
    places = dict.fromkeys((e.study, e.panel, "corrected") for e in claim.evidence)
    reasons = {place: found.reasons[place] for place in places if place in found.reasons}
    if reasons:
        said = [f"{p[0]} {p[1]}: {_tame(reason.why)}" for p, reason in reasons.items()]
        state = "failed" if any(reason.failed for reason in reasons.values()) else "untestable"
        return Card(claim, judgement, state, sentence("; ".join(dict.fromkeys(said))))
    state = "untestable" if any(found.has(*place) for place in places) else "not run"
    return Card(claim, judgement, state, sentence(capital(judgement.why)))


def _tame(message: str) -> str:
    return message if len(message) < 300 else f"{message[:297]} …"


def headline(found: Reproduction, shown: Sequence[Card]) -> str:
    """What became of the papers' claims, in a sentence; controls are not counted among them."""
    shown = [card for card in shown if not card.claim.control]
    if not shown:
        return f"No claim rests on what was run: {listing(found.ids)}."
    if all(card.state == "not run" for card in shown):
        return f"None of the papers' claims rests on what was run: {listing(found.ids)}."
    count = Counter(card.state for card in shown)
    parts = [f"{NUMBERS[n] if n < len(NUMBERS) else n} {STATES[s][2 if n == 1 else 3]}" for s, n in _in_order(count)]
    papers = {card.claim.paper for card in shown}
    several = len(papers - {THEORY})
    where = f"of {NUMBERS[several]} paper{'s' if several > 1 else ''}" if several else ""
    if THEORY in papers:
        where += " and the theory" if where else "of the theory"
    total = NUMBERS[len(shown)] if len(shown) < len(NUMBERS) else str(len(shown))
    return f"Of {total} claims {where}, {listing(parts)}." if len(shown) > 1 else f"The one claim {parts[0][4:]}."


def _in_order(count: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(state, count[state]) for state in STATES if count[state]]


@dataclass(frozen=True)
class Paper:
    """The claims of one paper, how many are in each state, and how many of their numbers lie where they say.

    Controls are not counted.
    """

    id: str
    title: str
    cards: tuple[Card, ...]
    counts: tuple[tuple[str, int], ...]
    sides: str


def by_paper(shown: Sequence[Card]) -> list[Paper]:
    """Claims by paper."""
    found = []
    for paper, title in PAPERS.items():
        own = tuple(c for c in shown if c.claim.paper == paper)
        if own:
            claimed = [c for c in own if not c.claim.control]
            numbers = sides.of_paper([f for c in claimed for f in c.findings])
            found.append(Paper(paper, title, own, tuple(_in_order(Counter(c.state for c in claimed))), numbers))
    return found
