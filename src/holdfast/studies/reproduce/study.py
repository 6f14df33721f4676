"""Study: one figure or table of a paper, declared in a TOML file of `library/`."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

HOME = Path(__file__).parent
PAPERS = {
    "BE": "Resilience of Bayesian layer-wise explanations under adversarial attacks (arXiv:2102.11010)",
    "GA": "Robustness of Bayesian neural networks to gradient-based attacks (arXiv:2002.04359)",
    "BA": "Robust models are more interpretable because attributions look normal (arXiv:2103.11257)",
    "TH": "The theory as an experiment",
}
Model = TypeVar("Model", bound=BaseModel)


class Declared(BaseModel):
    """Base of all that is declared in files: nothing unknown, nothing changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Panel(Declared):
    """A part of a figure: one data set, one network, and what is done with them.

    Attributes:
        title: unique within the study.
        data, network: names, which a scale may replace.
        treatments, attacks, rules: names that the presets give a meaning.
        layers: numbers of learnable layers, -1 for the last.
        draws: numbers of posterior draws in the paper, which a scale may replace.
        k: percent of the pixels.
        options: what else the measure needs.
    """

    title: str = Field(min_length=1)
    data: str
    network: str
    treatments: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    rules: tuple[str, ...] = ("epsilon",)
    layers: tuple[int, ...] = (-1,)
    draws: tuple[int, ...] = (100,)
    k: float = Field(20.0, gt=0, le=100)
    options: dict[str, Any] = Field(default_factory=dict)


class Study(Declared):
    """A figure or a table.

    Attributes:
        id: such as "BE-F3".
        paper: "BE", "GA", "BA", or "TH".
        figure: what the paper calls it.
        title: what it shows, in one line.
        measure: the file of `measures/` that computes it.
        picture: how it is drawn, see `holdfast.report.studies`.
        paper_shows: what the paper's figure shows, with its numbers.
        note: what is different here.
        panels: its parts.
    """

    id: str = Field(pattern=r"^[A-Z]{2}-[A-Z0-9]+$")
    paper: Literal["BE", "GA", "BA", "TH"]
    figure: str
    title: str
    measure: str = Field(pattern=r"^[a-z_]+$")
    picture: str = Field(pattern=r"^[a-z_]+$")
    paper_shows: str
    note: str = ""
    panels: tuple[Panel, ...] = Field(min_length=1)

    def only(self, titles: Sequence[str]) -> "Study | None":
        """The study with the panels of these titles alone; None where it has none of them."""
        kept = tuple(panel for panel in self.panels if panel.title in titles)
        return self.model_copy(update={"panels": kept}) if kept else None


class Without(Declared):
    """A figure or table that has no study.

    Attributes:
        id, paper, figure, title: as of a study.
        why: it has none.
    """

    id: str = Field(pattern=r"^[A-Z]{2}-[A-Z0-9]+$")
    paper: Literal["BE", "GA", "BA"]
    figure: str
    title: str
    why: str = Field(min_length=1)


class Withouts(Declared):
    """All of them."""

    without: tuple[Without, ...]


def read(file: Path, model: type[Model]) -> Model:
    """Read a declaration from a TOML file.

    Raises:
        ValueError: no TOML, or not what was expected; the message says where.
    """
    try:
        return model.model_validate(toml(file))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{file}: {place}: {first['msg']}, got {str(first.get('input'))[:80]!r}.") from None


def toml(file: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        ValueError: it is none.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{file} is not a TOML file ({error}).") from None


@cache
def studies() -> Mapping[str, Study]:
    """All studies of the library by their ids, in the order of papers and figures."""
    found = [read(file, Study) for file in sorted((HOME / "library").glob("*.toml"))]
    order = list(PAPERS)
    found.sort(key=lambda s: (order.index(s.paper), _figure_number(s.id)))
    return {s.id: s for s in found}


@cache
def without_study() -> Mapping[str, Without]:
    """The figures and tables that have no study, by their ids.

    >>> without_study()["BE-T5"].title
    'Asterisks for p-values'
    """
    return {one.id: one for one in read(HOME / "without.toml", Withouts).without}


def study_of(identifier: str) -> Study:
    """The study called so, in upper or lower case.

    Raises:
        ValueError: there is none; the message says why, or names those that are near.
    """
    from difflib import get_close_matches

    known = studies()
    if none := without_study().get(identifier.upper()):
        raise ValueError(f"reproduce: {none.id}, {none.figure} ({none.title}), cannot be run. {none.why}")
    if identifier.upper() not in known:
        near = get_close_matches(identifier.upper(), known, n=3) or list(known)[:3]
        raise ValueError(
            f"reproduce: there is no study {identifier!r}; perhaps {', '.join(near)}? `holdfast reproduce` lists all."
        )
    return known[identifier.upper()]


def _figure_number(identifier: str) -> tuple[int, str, str]:
    short = identifier.split("-")[1]
    digits = "".join(c for c in short if c.isdigit())
    return int(digits or 99), short[0], short
