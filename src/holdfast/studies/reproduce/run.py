"""Run: execute studies, gather their tables, judge the claims that they speak of, and keep it all in the run folder.

cells/                          the store
tables/<study>-<preset>.parquet every row of every panel, image by image
manifest.json                   settings, versions, stages: what `holdfast runs` reads
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.studies.atomic import atomic
from holdfast.studies.engine import Cell, Outcome, Store, execute
from holdfast.studies.engine.cell import in_order
from holdfast.studies.reproduce.claim import claims
from holdfast.studies.reproduce.kept import Kept, Missing
from holdfast.studies.reproduce.plan import Part, plan, tables
from holdfast.studies.reproduce.rules import PRESETS
from holdfast.studies.reproduce.study import Study
from holdfast.studies.reproduce.study import studies as library
from holdfast.studies.reproduce.verdict import Judgement, judge

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Reproduction:
    """Studies that were executed, and what follows.

    Attributes:
        studies, scale, presets: what was asked for.
        parts: panel by panel, with the cells.
        tables: (study, panel, preset) -> the panel's tables by name.
        missing: (study, panel, preset) -> why there are none, or what failed first in it.
        judgements: one for each claim that rests on one of the studies.
        seconds: of all cells together, finished now or before.
        times: study -> seconds of the cells that it needs, those included that it shares with others.
        retried: cells that were begun more than once, because the worker that computed them was lost.
        kept: what earlier runs kept, without the panels of this one; the judgements rest on it too.
        data_dir: where its data were.
    """

    studies: tuple[Study, ...]
    scale: str
    presets: tuple[str, ...]
    parts: tuple[Part, ...]
    tables: "Mapping[tuple[str, str, str], Mapping[str, DataFrame]]"
    missing: Mapping[tuple[str, str, str], str]
    judgements: tuple[Judgement, ...]
    seconds: float
    times: Mapping[str, float] = field(default_factory=dict)
    retried: Sequence[str] = ()
    kept: Kept | None = None
    data_dir: Path | None = None

    @property
    def ids(self) -> list[str]:
        """The studies of which something was computed, by this run or an earlier one."""
        return list(
            dict.fromkeys([*(s.id for s in self.studies), *(i for i, _ in (self.kept.panels if self.kept else ()))])
        )

    def has(self, study: str, panel: str, preset: str) -> bool:
        """Whether a panel was computed under a preset, by this run or an earlier one."""
        return (study, panel, preset) in self.tables or bool(self.kept and (study, panel) in self.kept.panels)

    @property
    def reasons(self) -> dict[tuple[str, str, str], Missing]:
        """(study, panel, preset) -> why there are no tables of it, or what failed, in this run or an earlier one."""
        not_released = {(p.study.id, p.panel.title, p.preset) for p in self.parts if p.missing}
        found = {name: Missing(why=why, failed=name not in not_released) for name, why in self.missing.items()}
        for name, panel in self.kept.panels.items() if self.kept else ():
            found |= {(*name, preset): one for preset, one in panel.missing.items()}
        return found


def reproduce(
    studies: Sequence[Study],
    store: Store,
    *,
    scale: str,
    presets: Sequence[str] = PRESETS,
    jobs: int = 1,
    kept: Kept | None = None,
    report: Callable[[Outcome, int, int], None] = lambda outcome, done, total: None,
) -> Reproduction:
    """Compute what is missing of some studies and judge their claims.

    Args:
        studies: which.
        store: where results are kept, with what the computations may use.
        scale: "smoke", "laptop" or "paper".
        presets: "published", "corrected", or both. Verdicts need "corrected".
        jobs: processes, see `engine.execute`.
        kept: of earlier runs: numbers of claims that rest on other panels than those of `studies`.
        report: called as each cell ends.
    """
    kept = kept.without(studies) if kept else None
    parts = plan(studies, scale, presets, data_dir=store.context.data_dir)
    outcomes = {o.cell.key: o for o in execute(store, (c for p in parts for c in p.cells), jobs=jobs, report=report)}
    found, missing = {}, {}
    for part in parts:
        name = (part.study.id, part.panel.title, part.preset)
        failed = [o for c in in_order(part.cells) if (o := outcomes[c.key]).state == "failed"]
        if part.missing or failed:
            missing[name] = part.missing or f"{failed[0].cell.name}: {failed[0].message}"
        if not part.missing:
            found[name] = tables(part, store, outcomes)
    _keep(store, found)
    judgements = tuple(_judged(studies, found, kept))
    seconds = sum(o.seconds for o in outcomes.values())
    times = {s.id: _seconds((c for p in parts if p.study is s for c in p.cells), outcomes) for s in studies}
    retried = tuple(o.cell.name for o in outcomes.values() if o.begun > 1)
    return Reproduction(
        tuple(studies), scale, tuple(presets), tuple(parts), found, missing, judgements, seconds, times, retried, kept,
        store.context.data_dir,
    )  # fmt: skip


def _judged(
    studies: Sequence[Study], found: "Mapping[tuple[str, str, str], Mapping[str, DataFrame]]", kept: Kept | None
) -> Iterator[Judgement]:
    """The claims that rest on a study of this run, or of one that was kept; what nobody can test is said, too."""
    ids = {s.id for s in studies} | {study for study, _ in (kept.panels if kept else ())}
    papers = {s.paper for s in (*studies, *(known for known in library().values() if known.id in ids))}
    for claim in claims().values():
        if claim.paper in papers and (claim.untestable or ids & {e.study for e in claim.evidence}):
            yield judge(claim, found, kept.findings.get(claim.id, ()) if kept else ())


def _seconds(cells: Iterable[Cell], outcomes: Mapping[str, Outcome]) -> float:
    return sum(outcomes[c.key].seconds for c in in_order(cells))


def _keep(store: Store, found: Mapping[tuple[str, str, str], Mapping[str, Any]]) -> None:
    import pandas

    by_file: dict[str, list[Any]] = {}
    for (study, panel, preset), frames in found.items():
        for name, frame in frames.items():
            if not frame.empty:
                by_file.setdefault(f"{study}-{name}-{preset}", []).append(frame.assign(panel=panel))
    for name, frames in by_file.items():
        file, content = store.path / "tables" / f"{name}.parquet", io.BytesIO()
        pandas.concat(frames, ignore_index=True).to_parquet(content, index=False)
        if not file.exists() or file.read_bytes() != content.getvalue():  # its date says when it changed
            with atomic(file) as partial:
                partial.write_bytes(content.getvalue())
