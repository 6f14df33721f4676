"""Keep: what of a reproduction goes into a repository: every number of every claim, means, figures, manifest, page.

<folder>/<scale>/claims.json        all claims with their numbers; `claims.csv` has one row for each number
<folder>/<scale>/tables/*.csv       means and quantiles over images, one file for each table of each study
<folder>/<scale>/figures/*/*.svg    every drawing, unless all are too many: then the heaviest are in the page alone
<folder>/<scale>/manifest.json      sizes, seeds; of each run its panels, versions, machine, times, and how to repeat it
<folder>/<scale>/verdicts.html      the page
"""

import io
import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.report.figures.canvas import slug
from holdfast.report.frame import save
from holdfast.report.studies import facts
from holdfast.report.studies.blocks import Block, blocks
from holdfast.report.studies.cards import Card, Paper, by_paper, cards, headline
from holdfast.report.studies.kept_articles import MEANS, kept_articles
from holdfast.report.studies.page import page_text
from holdfast.report.studies.pictures import names_of, picture_of
from holdfast.report.studies.sides import counts
from holdfast.report.studies.summary import summary
from holdfast.studies.reproduce.kept import (
    CLAIMS,
    MANIFEST,
    NUMBERS,
    PAGE,
    finding_to_json,
    settings_of,
    sizes_of,
)
from holdfast.studies.reproduce.plan import plan
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import Panel, Study
from holdfast.studies.stage_key import versions

if TYPE_CHECKING:
    from pandas import DataFrame

LIMIT = 19_900_000  # bytes of everything that is kept of one scale: 20 MB with its folders and what describes it
DIGITS = 6
DIGITS_OF_MEANS = 4
POSTERIORS = "posteriors"  # the table with a row for each ensemble: kept as it is


def keep_results(found: Reproduction, folder: Path | str) -> Path:
    """Keep the small results of a reproduction.

    What an earlier run of the same scale left is replaced, unless the reproduction was one that adds to it (`kept`).

    Args:
        found: what `holdfast.studies.reproduce.run.reproduce` returned.
        folder: such as `docs/results`; a folder with the name of the scale is made in it.

    Returns:
        Path of that folder.

    Raises:
        TypeError: `found` is not a `Reproduction`.
        ValueError: it would be more than 20 MB even without drawings beside the page, or it adds to what another
            folder has; nothing is written.
    """
    if not isinstance(found, Reproduction):
        raise TypeError(f"report.keep_results: expected a Reproduction, got {type(found).__name__}.")
    home = Path(folder) / found.scale
    if found.kept and found.kept.folder.resolve() != home.resolve():
        raise ValueError(f"report.keep_results: the run adds to {found.kept.folder}, it cannot be kept in {home}.")
    if found.kept and (home / MANIFEST).read_bytes() != found.kept.content:
        raise ValueError(
            f"report.keep_results: {home} was changed by another run since this one read it; repeat the command: what "
            "is computed is not computed again."
        )
    files = _lighter(dict(_files(found)))
    size = sum(map(len, files.values()))
    if size > LIMIT:
        raise ValueError(
            f"report.keep_results: {size / 1e6:.1f} MB for {home}, but at most {LIMIT / 1e6:.0f} MB are kept; keep "
            "fewer studies, or a run with fewer layers."
        )
    if not found.kept:  # until there is a manifest again, nobody adds to a mixture of the old and the new
        (home / MANIFEST).unlink(missing_ok=True)
    for old in (*home.glob("tables/*.csv"), *home.glob("figures/*/*.svg")):
        if old.relative_to(home).as_posix() not in files:
            old.unlink()
    for name, content in files.items():
        save(home / name, content)
    return home


class NotKept(UserWarning):
    """Drawings that were not written as files of their own, so that the rest fits; the page has them all."""


def _lighter(files: dict[str, bytes]) -> dict[str, bytes]:
    """The same files without the drawings of some studies, the heaviest first, where all are too many."""
    weights: dict[str, int] = {}
    for name, content in files.items():
        if name.startswith("figures/"):
            weights[name.split("/")[1]] = weights.get(name.split("/")[1], 0) + len(content)
    over, left_out = sum(map(len, files.values())) - LIMIT, []
    for study in sorted(weights, key=lambda s: -weights[s]):
        if over <= 0:
            break
        over -= weights[study]
        left_out.append(study)
    if left_out and over <= 0:
        warnings.warn(f"drawings of {', '.join(left_out)} are in the page alone.", NotKept, stacklevel=3)
    return {k: v for k, v in files.items() if not any(k.startswith(f"figures/{s}/") for s in left_out)}


def _files(found: Reproduction) -> Iterator[tuple[str, bytes]]:
    shown = cards(found)
    drawn = blocks(found, [c.claim for c in shown], None)
    yield from _kept_figures(found)
    tables = dict(_tables(found))
    drawn = [_with_means(block, tables) for block in drawn]
    for block in drawn:
        for d in block.drawn:
            yield f"figures/{block.study.id}/{d.plot.name}.svg", d.plot.svg.encode()
    for card in shown:
        for forest in card.forests:
            yield f"figures/claims/{forest.plot.name}.svg", forest.plot.svg.encode()
    yield from ((f"tables/{name}.csv", text.encode()) for name, text in tables.items())
    papers = [_paper(paper) for paper in by_paper(shown)]
    said = {"headline": headline(found, shown), "papers": papers, "claims": [_claim(card) for card in shown]}
    yield CLAIMS, _by_line(said)
    yield "claims.csv", _csv(shown)
    yield PAGE, page_text(found, shown, drawn, kept_articles(found, None), kept_page=True).encode()
    yield MANIFEST, _json(_manifest(found))  # last: until it is there, a run that was to be added can be added again


def _with_means(block: Block, tables: Iterable[str]) -> Block:
    """A study with links to its kept tables in place of those of the run folder."""
    own = [name for name in tables if name.startswith(f"{block.study.id}-")]
    files = [(name.removeprefix(f"{block.study.id}-"), [("CSV", f"tables/{name}.csv")]) for name in own]
    return replace(block, files=files, of_files=MEANS)


def _kept_figures(found: Reproduction) -> Iterator[tuple[str, bytes]]:
    """Drawings of the panels that an earlier run kept; those of claims are drawn anew."""
    for study, panel in found.kept.panels if found.kept else ():
        for file in sorted(found.kept.folder.glob(f"figures/{study}/{slug(*names_of(study, panel))}_*.svg")):
            yield file.relative_to(found.kept.folder).as_posix(), file.read_bytes()


def _tables(found: Reproduction) -> Iterator[tuple[str, str]]:
    """The summary of every table as CSV, all panels and presets together, below what an earlier run kept of it."""
    new = dict(_means(found))
    old = dict(_kept_means(found))
    for name in old | new:
        if name not in old:
            yield name, _text(new[name])
        elif name not in new:
            yield name, _text(old[name])
        else:
            import pandas

            yield name, _text(pandas.concat([old[name], _read_csv(io.StringIO(_text(new[name])))]))


def _kept_means(found: Reproduction) -> "Iterator[tuple[str, DataFrame]]":
    """The tables that an earlier run kept, without the panels that were computed again."""
    for file in sorted(found.kept.folder.glob("tables/*.csv")) if found.kept else ():
        study, table = file.stem.rpartition("-")[0], _read_csv(file)
        stay = [(study, panel) in found.kept.panels for panel in table.panel]
        if any(stay):
            yield file.stem, table[stay]


def _read_csv(file: Any) -> "DataFrame":
    """A CSV file, letter by letter."""
    import pandas

    return pandas.read_csv(file, dtype=str, keep_default_na=False)


def _means(found: Reproduction) -> "Iterator[tuple[str, DataFrame]]":
    """The summary of every table of this run."""
    import pandas

    rows: dict[str, list[DataFrame]] = {}
    said = {s.id for s in found.studies if picture_of(s).IN_NUMBERS}
    for (study, panel, preset), tables in found.tables.items():
        for name, table in tables.items():
            if (study in said or name == POSTERIORS) and not table.empty:
                means = table.copy() if name == POSTERIORS else summary(table)
                means.insert(0, "preset", preset)
                means.insert(0, "panel", panel)
                rows.setdefault(f"{study}-{name}", []).append(means)
    return ((name, pandas.concat(frames, ignore_index=True)) for name, frames in rows.items())


def _text(table: "DataFrame", digits: int = DIGITS_OF_MEANS) -> str:
    return table.to_csv(index=False, float_format=f"%.{digits}g", lineterminator="\n")


def _paper(paper: Paper) -> dict[str, Any]:
    return {"id": paper.id, "title": paper.title, "verdicts": dict(paper.counts), "sides": paper.sides}


def _claim(card: Card) -> dict[str, Any]:
    claim, findings = card.claim, card.findings
    told = {"id": claim.id, "paper": claim.paper, "statement": claim.statement, "source": claim.source}
    told |= {"control": claim.control, "verdict": card.state, "why": card.why, "background": claim.background}
    told |= {"on_the_claimed_side": counts(findings)}
    return told | {"numbers": [finding_to_json(f) for f in findings]}


def _csv(shown: list[Card]) -> bytes:
    """One row for each number; a claim without numbers has one row."""
    import pandas

    rows = []
    for card in shown:
        claim = _claim(card)
        own = {"claim": claim["id"], "claim_verdict": claim["verdict"]}
        for number in claim["numbers"] or [{}]:
            row = own | {k: v for k, v in number.items() if k not in (*NUMBERS, "controls")}
            row |= {k: json.dumps(row[k], sort_keys=True) for k in ("where", "against", "above") if k in row}
            for name in NUMBERS:
                row |= {f"{name}_{k}": v for k, v in (number.get(name) or {}).items()}
            for control in number.get("controls", ()):
                row[f"control_{control['control'].replace(' ', '_')}"] = control["value"]
            rows.append(row)
    return _text(pandas.DataFrame(rows), DIGITS).encode()


def _manifest(found: Reproduction) -> dict[str, Any]:
    settings = settings_of(plan(found.studies, found.scale, data_dir=found.data_dir))
    reasons, meant = replace(found, kept=None).reasons, facts.meanings(replace(found, kept=None))
    run = {"studies": {s.id: {"figure": s.figure, "seconds": found.times.get(s.id)} for s in found.studies}}
    for study in found.studies:
        run["studies"][study.id]["panels"] = {
            panel.title: {
                "settings": settings[study.id, panel.title],
                "missing": {
                    preset: reasons[name].model_dump()
                    for preset in found.presets
                    if (name := (study.id, panel.title, preset)) in reasons
                },
                "apart": _apart(found, study, panel, meant),
            }
            for panel in study.panels
        }
    run |= {
        "seconds": found.seconds,
        "versions": versions(),
        "machine": facts.machine(),
        "settings": meant,
        "again": facts.command(found, found.studies),
    }
    earlier = [one.model_dump(mode="json") for one in found.kept.runs] if found.kept else []
    runs = [*earlier, run] if found.studies else earlier  # claims may be judged anew without any
    return {"scale": sizes_of(found.scale), "presets": found.presets, "runs": runs}


def _apart(found: Reproduction, study: Study, panel: Panel, meant: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a panel that are not the run's; nothing where all are."""
    own = {preset: facts.of_panel(found, preset, study, panel) for preset in found.presets}
    return {
        preset: other
        for preset, rows in own.items()
        if (other := {title: value for title, value in rows.items() if value != meant[preset].get(title)})
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n").encode()


def _by_line(content: Mapping[str, Any]) -> bytes:
    """As JSON with a line for each entry of each list: a third smaller than with one for each value."""
    line = lambda value: json.dumps(_plain(value), ensure_ascii=False)
    lists = lambda value: "[\n" + ",\n".join(map(line, value)) + "\n]" if isinstance(value, list) else line(value)
    return ("{" + ",\n".join(f"{line(name)}: {lists(value)}" for name, value in content.items()) + "}\n").encode()


def _plain(value: Any) -> Any:
    """JSON without NaN, numbers with few digits."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
