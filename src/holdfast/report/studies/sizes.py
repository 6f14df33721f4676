"""Sizes: on how many images networks were tested and trained, figures that differ named, by the plan's cells."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from holdfast.report.studies.names import treatment_title
from holdfast.report.wording import listing, plain
from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.plan import Part
from holdfast.studies.reproduce.rules import Settled
from holdfast.studies.reproduce.study import PAPERS, studies

OTHER_POINTS = ("diagnosis", "path_symmetry")  # cells whose points are no test images of a figure
COMMON = 3  # figures whose only exception it must be, for one to be said of its treatment
Place = tuple[str, str]  # study, panel
Value = TypeVar("Value", bound=Hashable)
PRESETS = {"published": "as published", "corrected": "as corrected"}


@dataclass(frozen=True)
class Training:
    """What a treatment was trained on: images, None for all; images of a part of them where each part had a chain."""

    treatment: str
    preset: str
    images: int | None
    part: int | None


def images_tested(parts: Iterable[Part], usual: int) -> str:
    """How many test images, with the figures that have others.

    >>> from holdfast.studies.reproduce.plan import plan
    >>> from holdfast.studies.reproduce.study import study_of
    >>> images_tested(plan([study_of(s) for s in ("BE-F3", "BE-F15", "BA-F3", "BA-F4", "BA-F10")], "laptop"), 200)
    '200; 60 in BE-F15 and BE-F3 (CIFAR-10); 100 in paper BA; 120 in BA-F10'
    """
    found: dict[Place, int] = {}
    for part in parts:
        for cell in _all_cells(part):
            points = cell.settings.get("points")
            if isinstance(points, int) and cell.kind not in OTHER_POINTS:
                found[part.study.id, part.panel.title] = points
    of_papers = {paper: _usual([n for (s, _), n in found.items() if _paper(s) == paper], usual) for paper in PAPERS}
    apart = {place: n for place, n in found.items() if n != of_papers[_paper(place[0])]}
    said = {n: [_places(own)] for n, own in _by_value(apart).items()}
    for paper, n in of_papers.items():
        if n != usual:
            said.setdefault(n, []).append(f"paper {paper}")
    return "; ".join([plain(usual), *(f"{plain(n)} in {listing(said[n])}" for n in sorted(said))])


def training_seeds(parts: Iterable[Part], usual: Sequence[int]) -> str:
    """The seeds of the training runs, with the figures that have others.

    >>> from holdfast.studies.reproduce.plan import plan
    >>> from holdfast.studies.reproduce.study import study_of
    >>> training_seeds(plan([study_of(s) for s in ("BE-F3", "TH-2")], "laptop"), [0])
    '0; 0, 1, 2 in TH-2'
    """
    found: dict[Place, tuple[int, ...]] = {}
    for part in parts:
        own = {labels["seed"] for labelled in part.tables.values() for labels, _ in labelled if "seed" in labels}
        if own and len(own) > len(usual):
            found[part.study.id, part.panel.title] = tuple(sorted(own))
    return "; ".join([plain(usual), *(f"{plain(seeds)} in {_places(own)}" for seeds, own in _by_value(found).items())])


def images_trained(parts: Iterable[Part], usual: int | None) -> str:
    """How many training images, with the treatments and figures that have others.

    >>> from holdfast.studies.reproduce.plan import plan
    >>> from holdfast.studies.reproduce.study import study_of
    >>> images_trained(plan([study_of(s) for s in ("BE-F2", "BE-F3", "BE-F4", "TH-2")], "laptop"), None)
    'all; 30,000 in parts of 2000 for HMC as published; 250 to 1000 in TH-2'
    """
    found: dict[Place, set[Training]] = {}
    for part in parts:
        own = {t for t in _trainings(part) if (t.images, t.part) != (usual, None)}
        found.setdefault((part.study.id, part.panel.title), set()).update(own)
    alone = {(study, *own) for (study, _), own in found.items() if len(own) == 1}
    count = Counter(training for _, training in alone)
    common = sorted((t for t, n in count.items() if n >= COMMON), key=_words)
    rest = {place: _range(own - set(common)) for place, own in found.items() if own - set(common)}
    return "; ".join(
        [
            "all" if usual is None else plain(usual),
            *(_words(t) + _papers_of(t, common, alone) for t in common),
            *(f"{words} in {_places(own)}" for words, own in _by_value(rest).items()),
        ]
    )


def own_widths(scale: str) -> list[tuple[str, int, str]]:
    """(network, width, the papers' widths) of the papers' own networks, as of paper BE.

    >>> own_widths("laptop")
    [('fc2', 128, '512 and 1024'), ('conv', 32, '512 and 1024')]
    """
    of = lambda scale, network: [
        Settled("corrected", scale).of("network", study="BE-F3", data=data, network=network)["width"]
        for data in ("mnist", "fashion-mnist")
    ]
    return [(n, of(scale, n)[0], listing(plain(v) for v in of("paper", n))) for n in ("fc2", "conv")]


def widths(parts: Iterable[Part], network: str, usual: int) -> str:
    """How wide a network is, with the figures where it is not.

    >>> from holdfast.studies.reproduce.plan import plan
    >>> from holdfast.studies.reproduce.study import study_of
    >>> chosen = plan([study_of(s) for s in ("BE-F3", "GA-T1", "TH-1", "TH-2")], "laptop")
    >>> widths(chosen, "conv", 32), widths(chosen, "fc2", 128)
    ('32; 128 as published in GA-T1 (MNIST, VI and Fashion-MNIST, VI)', '128; 64 in TH-1; 64 to 256 in TH-2')
    """
    own: dict[Place, dict[str, set[int]]] = {}
    for part in parts:
        for cell in _all_cells(part):
            architecture = cell.settings.get("network", {}) if cell.kind == "fit" else {}
            if architecture.get("name") == network:
                by_preset = own.setdefault((part.study.id, part.panel.title), {})
                by_preset.setdefault(part.preset, set()).add(architecture["width"])
    found: dict[Place, str] = {}
    for place, by_preset in own.items():
        one = all(known == next(iter(by_preset.values())) for known in by_preset.values())
        said = {f"{_ends(known)}{'' if one else f' {PRESETS[preset]}'}": None
                for preset, known in by_preset.items() if known != {usual}}  # fmt: skip
        found |= {place: listing(said)} if said else {}
    return "; ".join([plain(usual), *(f"{words} in {_places(places)}" for words, places in _by_value(found).items())])


def _all_cells(part: Part) -> Iterator[Cell]:
    """The cells of a part and all that they need."""
    left, seen = list(part.cells), set()
    while left:
        cell = left.pop()
        if id(cell) not in seen:
            seen.add(id(cell))
            left += cell.needs.values()
            yield cell


def _trainings(part: Part) -> Iterator[Training]:
    for labels, cell in (pair for labelled in part.tables.values() for pair in labelled):
        treatment = str(labels.get("treatment", ""))
        for fit in _all_cells(Part(part.study, part.panel, part.preset, {"": [(labels, cell)]})):
            if fit.kind == "fit" and "checkpoint" not in fit.settings["fit"]:
                yield Training(treatment, part.preset, fit.settings["train"], fit.settings["fit"].get("shard"))


def _words(training: Training) -> str:
    images = "all" if training.images is None else plain(training.images)
    part = f" in parts of {plain(training.part)}" if training.part else ""
    return f"{images}{part} for {treatment_title(training.treatment)} {PRESETS[training.preset]}"


def _papers_of(training: Training, common: Iterable[Training], alone: Iterable[tuple[str, Training]]) -> str:
    """Whose networks are meant, where a treatment has several exceptions."""
    same = [t for t in common if (t.treatment, t.preset) == (training.treatment, training.preset)]
    papers = dict.fromkeys(sorted(_paper(study) for study, own in alone if own == training))
    return f" in paper {listing(papers)}" if len(same) > 1 else ""


def _range(trainings: Iterable[Training]) -> str:
    counts = [t.images for t in trainings]
    known = [n for n in counts if n is not None]
    return " or ".join([*([_ends(known)] if known else []), *(["all"] if None in counts else [])])


def _ends(numbers: Iterable[int]) -> str:
    known = sorted(numbers)
    return " to ".join(plain(n) for n in dict.fromkeys((known[0], known[-1])))


def _by_value(found: Mapping[Place, Value]) -> dict[Value, list[Place]]:
    by: dict[Value, list[Place]] = {}
    for place, value in found.items():
        by.setdefault(value, []).append(place)
    return by


def _places(own: Iterable[Place]) -> str:
    """Studies, those of which not all panels are meant with their panels."""
    by: dict[str, list[str]] = {}
    for study, panel in own:
        by.setdefault(study, []).append(panel)
    whole = {s: len(known.panels) for s, known in studies().items()}
    words = [s if len(titles) >= whole.get(s, 1) else f"{s} ({listing(titles)})" for s, titles in by.items()]
    return listing(sorted(words))


def _usual(counts: list[int], otherwise: int) -> int:
    (most, _), *_ = Counter(counts).most_common(1) or [(otherwise, 0)]
    return most


def _paper(study: str) -> str:
    return study.split("-")[0]
