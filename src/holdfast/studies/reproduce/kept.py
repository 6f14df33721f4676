"""Kept: what a repository has of earlier runs, read again, so that a later run can add the panels that are missing.

    claims.json      every claim with its numbers, to six digits
    manifest.json    the scale, and of each run its panels, times, versions, machine and settings

Numbers are judged anew: a verdict about a claim rests on all of its numbers, whichever run they are of. A panel counts
as there if nothing of it failed and its settings were those that it has now.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.claim import Evidence, claims
from holdfast.studies.reproduce.estimate import Estimate
from holdfast.studies.reproduce.plan import Part, plan
from holdfast.studies.reproduce.quantities import AVERAGED
from holdfast.studies.reproduce.rules import PRESETS, Section, Settled
from holdfast.studies.reproduce.study import Declared, Study, studies
from holdfast.studies.reproduce.verdict import NOT_RUN, Finding, Verdict, identity, judge

CLAIMS, MANIFEST, PAGE = "claims.json", "manifest.json", "verdicts.html"
NUMBERS = ("published", "corrected", "beyond_chance")
Preset = Literal["published", "corrected"]


class Missing(Declared):
    """Why a panel has no tables under a preset: it failed, or was not released by the paper."""

    why: str
    failed: bool


class KeptPanel(Declared):
    """A panel of one run.

    Attributes:
        settings: the checksum of its settings under all presets.
        missing: what is missing of it, and why.
        apart: preset -> title -> what the name meant here, where that is not what it meant in the run's other panels.
    """

    settings: str
    apart: dict[Preset, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    missing: dict[Preset, Missing] = Field(default_factory=dict)


class KeptStudy(Declared):
    """What one run computed of a study: its panels, and the seconds of the cells that they need."""

    figure: str
    panels: dict[str, KeptPanel]
    seconds: float | None


class KeptRun(Declared):
    """How one run was made.

    Attributes:
        studies: by their ids.
        seconds: of all its cells.
        versions, machine: that computed it.
        settings: preset -> title -> what the name meant.
        again: the command.
    """

    studies: dict[str, KeptStudy]
    seconds: float
    versions: dict[str, str]
    machine: str
    settings: dict[Preset, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    again: str


class KeptManifest(Declared):
    """How everything that is kept of one scale was made."""

    scale: dict[str, Any]
    presets: tuple[Preset, ...]
    runs: tuple[KeptRun, ...] = Field(min_length=1)


class KeptEstimate(Declared):
    """A number with its interval, as JSON has it: what is not finite is null."""

    value: float | None
    low: float | None
    high: float | None
    images: int
    p: float | None
    seeds: int

    @property
    def estimate(self) -> Estimate:
        """The number."""
        ends = [math.nan if v is None else v for v in (self.value, self.low, self.high)]
        return Estimate(*ends, images=self.images, p=self.p, seeds=self.seeds)


class KeptControl(KeptEstimate):
    """The number of a control."""

    control: str
    claimed_is_above: bool


class KeptFinding(Evidence):
    """A piece of evidence with its numbers."""

    controls: tuple[KeptControl, ...]  # theirs are the numbers, not the labels
    lacking: tuple[str, ...]
    published: KeptEstimate | None
    corrected: KeptEstimate | None
    beyond_chance: KeptEstimate | None
    chance: float | None
    verdict: Verdict
    why: str

    @property
    def finding(self) -> Finding:
        """As it was judged."""
        numbers = {n: told.estimate if (told := getattr(self, n)) else None for n in NUMBERS}
        controls = tuple((c.control, c.estimate, c.claimed_is_above) for c in self.controls)
        own = self.model_dump(include=set(Evidence.model_fields) - {"controls"})
        return Finding(
            Evidence.model_validate(own), controls=controls, chance=self.chance, verdict=self.verdict, why=self.why,
            lacking=self.lacking, **numbers,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Kept:
    """What is kept of one scale.

    Attributes:
        folder: where.
        manifest: how it was made.
        content: of the manifest's file, to see whether another run has changed it since.
        panels: (study, title) -> panel, as the latest run has it.
        findings: claim -> its numbers, of these panels alone.
    """

    folder: Path
    manifest: KeptManifest
    content: bytes
    panels: Mapping[tuple[str, str], KeptPanel]
    findings: Mapping[str, tuple[Finding, ...]]

    @property
    def runs(self) -> list[KeptRun]:
        """The runs with the panels that still are theirs; what was computed again is the later run's."""
        runs, left = [], dict(self.panels)
        for run in reversed(self.manifest.runs):
            own = {
                study: told.model_copy(
                    update={"panels": {t: left.pop((study, t)) for t in told.panels if (study, t) in left}}
                )
                for study, told in run.studies.items()
            }
            own = {study: told for study, told in own.items() if told.panels}
            runs += [run.model_copy(update={"studies": own})] if own else []
        return runs[::-1]

    def is_empty(self, name: tuple[str, str]) -> bool:
        """Whether nothing was computed of a panel, for there was nothing to compute it with."""
        missing = self.panels[name].missing
        return set(missing) == set(PRESETS) and not any(one.failed for one in missing.values())

    def without(self, chosen: Iterable[Study]) -> "Kept":
        """The same without the panels of some studies, which are computed again."""
        again = {(study.id, panel.title) for study in chosen for panel in study.panels}
        panels = {name: panel for name, panel in self.panels.items() if name not in again}
        findings = {
            claim: tuple(f for f in own if (f.evidence.study, f.evidence.panel) in panels)
            for claim, own in self.findings.items()
        }
        return replace(self, panels=panels, findings=findings)

    def lacks(self, chosen: Iterable[Study], scale: str, data_dir: Path | None = None) -> list[Study]:
        """The studies with those panels alone that are not there, failed, had other settings, or lack a number.

        A number is lacking, too, where the claim asks for a control since, which was not tried.
        """
        failed = {n for n, p in self.panels.items() if any(m.failed for m in p.missing.values())}
        open_ = self.outdated(scale, data_dir) | failed
        for claim in claims().values():
            judged = judge(claim, {}, self.findings.get(claim.id, ()))
            open_ |= {(f.evidence.study, f.evidence.panel) for f in judged.findings if f.why == NOT_RUN or f.untried}
        is_open = lambda name: name in open_ or name not in self.panels
        rest = (study.only([p.title for p in study.panels if is_open((study.id, p.title))]) for study in chosen)
        return [only for only in rest if only]

    def outdated(self, scale: str, data_dir: Path | None = None) -> set[tuple[str, str]]:
        """The panels whose settings are no longer those that they were computed with, see `changed`."""
        kept = [s.only([title for study, title in self.panels if study == s.id]) for s in studies().values()]
        parts = plan([s for s in kept if s], scale, data_dir=data_dir)
        return changed(parts, {name: panel.settings for name, panel in self.panels.items()})


def read_kept(folder: Path | str, scale: str) -> Kept | None:
    """Read what is kept of a scale; None where nothing is.

    Args:
        folder: where it is, such as `docs/results/laptop`.
        scale: at which it must have been computed, with the sizes that the scale has now.

    Raises:
        ValueError: a file is not what was written there, the sizes were others, or a preset is missing.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"reproduce: {folder} is a file; results are kept in a folder.")
    if not any((folder / name).exists() for name in (CLAIMS, MANIFEST)):
        return None
    try:
        content = (folder / MANIFEST).read_bytes()
        manifest = KeptManifest.model_validate_json(content)
        told = json.loads((folder / CLAIMS).read_text(encoding="utf-8"))["claims"]
        found = {c["id"]: tuple(KeptFinding.model_validate(n).finding for n in c["numbers"]) for c in told}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ValueError(
            f"reproduce: {folder} cannot be added to: it is not what this version keeps ({type(error).__name__}: "
            f"{' '.join(what.split())[:200]}). Keep the results anew, without --add."
        ) from None
    _same_sizes(folder, manifest, scale)
    studies_of_runs = [(study, own) for run in manifest.runs for study, own in run.studies.items()]
    panels = {(study, title): panel for study, own in studies_of_runs for title, panel in own.panels.items()}
    kept = Kept(folder, manifest, content, panels, found)
    return kept.without([])  # a run that was stopped while it was added has left numbers of panels that are not there


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """A finding as JSON has it."""
    e = finding.evidence
    told = identity(e) | {"margin": e.margin, "least": e.least, "paper": e.paper, "comparable": e.comparable}
    controls = [{"control": name, "claimed_is_above": above, **_told(n)} for name, n, above in finding.controls]
    numbers = {name: _told(getattr(finding, name)) for name in NUMBERS} | {"chance": finding.chance}
    words = {"lacking": list(finding.lacking), "verdict": finding.verdict, "why": finding.why}
    return told | numbers | {"controls": controls} | words


def sizes_of(scale: str) -> dict[str, Any]:
    """The sizes of a scale, as the manifest says them."""
    return Settled("corrected", scale).scale.model_dump(mode="json", exclude=set(get_args(Section)))


def settings_of(parts: Iterable[Part]) -> dict[tuple[str, str], str]:
    """(study, panel) -> a checksum of all settings that its results depend on, under all presets, without the code."""
    seen: dict[Cell, str] = {}

    def checksum(cell: Cell) -> str:
        if cell not in seen:
            needs = {role: checksum(need) for role, need in cell.needs.items()}
            seen[cell] = _sha256([cell.kind, cell.settings, needs])
        return seen[cell]

    found: dict[tuple[str, str], list[Any]] = {}
    for part in parts:
        told = lambda labels: {k: v for k, v in labels.items() if k != AVERAGED}  # which the cell's settings say
        cells = {name: [[told(labels), checksum(cell)] for labels, cell in own] for name, own in part.tables.items()}
        found.setdefault((part.study.id, part.panel.title), []).append([part.preset, part.missing, cells])
    return {name: _sha256(own) for name, own in found.items()}


def changed(parts: Iterable[Part], then: Mapping[tuple[str, str], str]) -> set[tuple[str, str]]:
    """The panels whose settings are no longer those of `then`: (study, panel) -> checksum.

    Where the data are such that the user alone can have them, and has not, nobody can tell: they are not among them.
    """
    parts = list(parts)
    now, not_here = settings_of(parts), {(p.study.id, p.panel.title) for p in parts if p.not_here}
    return {name for name, settings in then.items() if now.get(name) != settings and name not in not_here}


def _sha256(value: Any) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _told(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "images": estimate.images}
    return numbers | {"p": estimate.p, "seeds": estimate.seeds}


def _same_sizes(folder: Path, manifest: KeptManifest, scale: str) -> None:
    if set(manifest.presets) != set(PRESETS):
        raise ValueError(
            f"reproduce: {folder} was computed under the preset {' and '.join(manifest.presets)} alone; it cannot be "
            "added to. Keep the results anew, without --add."
        )
    now, then = json.loads(json.dumps(sizes_of(scale))), manifest.scale
    apart = [name for name in now.keys() | then.keys() if now.get(name) != then.get(name)]
    if apart:
        said = ", ".join(f"{name} {then.get(name)} and not {now.get(name)}" for name in sorted(apart))
        raise ValueError(
            f"reproduce: what {folder} has was computed with other sizes ({said}); it cannot be added to. Keep the "
            "results anew, without --add."
        )
