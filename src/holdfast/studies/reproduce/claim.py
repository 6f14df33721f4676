"""Claim: something a paper says, the paper's numbers, and which figures speak for or against it."""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from holdfast.studies.reproduce.study import HOME, Declared, read

Where = dict[str, str | float | int | list[str] | list[float] | list[int]]
NUMBERED = ("layer", "draws", "k", "epsilon")  # labels whose values say nothing without their names
Expect = Literal["positive", "negative", "zero", "not above", "not below"]


class Evidence(Declared):
    """A number that the claim is about.

    Attributes:
        study, panel: where it is found.
        quantity: how it is computed, see `holdfast.studies.reproduce.quantities`.
        table, column: of the panel's tables; `other` a second column, for gaps and correlations.
        per: a column that `column` is divided by, row by row; rows where it is zero are left out.
        over: the column whose logarithm a trend is taken over.
        within: the column whose values part the networks of an association: those of one value alone are compared.
        where: labels of the rows; a list stands for one piece of evidence for each of its values.
        against: labels that the rows to compare with have instead.
        controls: labels of rows that must not do as well; where none are named, those of the claim.
        above: columns, and the values that rows must exceed to count.
        only: images whose decision the attack left as it was ("kept"), or changed; of both sides of a difference.
        expect: what the claim says of the number: its sign, or that it is zero, not above or not below zero.
        margin: what counts as zero where that is expected.
        least: the size below which a number is too little to matter where a sign is expected.
        paper: the paper's number; or, for lists in `where`, one for each value of the last list.
        comparable: whether the paper's number is of such networks and data that sizes can be compared, not signs alone.
    """

    study: str
    panel: str
    quantity: Literal["difference", "level", "gap", "correlation", "trend", "association"]
    table: str = "resilience"
    column: str = "k_lrp"
    other: str = ""
    per: str = ""
    over: str = "draws"
    within: str = ""
    where: Where = Field(default_factory=dict)
    against: Where = Field(default_factory=dict)
    controls: tuple[Where, ...] = ()
    above: dict[str, float] = Field(default_factory=dict)
    only: Literal["all", "kept", "changed"] = "all"
    expect: Expect
    margin: float = Field(0.02, ge=0)
    least: float = Field(0.0, ge=0)
    paper: float | list[float] | None = None
    comparable: bool = True

    def each(self) -> Iterator["Evidence"]:
        """One piece of evidence for each combination of the listed values."""
        lists = {k: v for k, v in self.where.items() if isinstance(v, list)}
        for place, values in enumerate(product(*lists.values())):
            paper = self.paper[place % len(self.paper)] if isinstance(self.paper, list) else self.paper
            where = self.where | dict(zip(lists, values, strict=True))
            yield self.model_copy(update={"where": where, "paper": paper})

    @property
    def label(self) -> str:
        """What it is of, in a few words."""
        return ", ".join([self.panel, *(f"{k} {v}" if k in NUMBERED else str(v) for k, v in self.where.items())])


class Claim(Declared):
    """A claim.

    Attributes:
        id: such as "BE-C1".
        paper: whose claim it is.
        statement: what is claimed.
        source: where in the paper.
        controls: of all evidence that names none of its own.
        evidence: what it rests on here.
        untestable: why nothing here can test it.
        every: whether it is said of every case, so that one that fails is enough against it.
        control: whether it is a test of the procedure and no claim of the paper's; it is then not counted among them.
        background: what the audit of the paper says of it.
    """

    id: str
    paper: Literal["BE", "GA", "BA", "TH"]
    statement: str
    source: str
    controls: tuple[Where, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    untestable: str = ""
    every: bool = False
    control: bool = False
    background: str = ""

    @field_validator("evidence")
    @classmethod
    def _with_controls(cls, evidence: tuple[Evidence, ...], known: ValidationInfo) -> tuple[Evidence, ...]:
        own = {"controls": known.data.get("controls", ())}
        return tuple(e if "controls" in e.model_fields_set else e.model_copy(update=own) for e in evidence)


class Claims(Declared):
    """The claims of one file."""

    claims: tuple[Claim, ...]


@cache
def claims() -> Mapping[str, Claim]:
    """All claims by their ids.

    Raises:
        ValueError: a file that is not what was expected; a claim of a study or panel that is not there.
    """
    from holdfast.studies.reproduce.study import studies

    files = sorted((HOME / "claims").glob("*.toml"), key=lambda f: ("be", "ga", "ba", "th").index(f.stem))
    found = {claim.id: claim for file in files for claim in read(file, Claims).claims}
    for claim in found.values():
        for evidence in claim.evidence:
            panels = [p.title for p in studies()[evidence.study].panels] if evidence.study in studies() else []
            if evidence.panel not in panels:
                raise ValueError(f"claim {claim.id}: there is no panel {evidence.panel!r} of {evidence.study}.")
    return found


def values(where: Mapping[str, Any]) -> str:
    """Labels in a few words."""
    return ", ".join(str(v) for v in where.values())
