"""Keep: what of a reproduction goes into a repository: every number of every claim, means, figures, manifest, page.

<folder>/<scale>/claims.json        all claims with their numbers; `claims.csv` has one row for each number
<folder>/<scale>/tables/*.csv       means and quantiles over images, one file for each table of each study
<folder>/<scale>/figures/*/*.svg    every drawing
<folder>/<scale>/manifest.json      sizes, seeds, versions, machine, times, and how to run it again
<folder>/<scale>/verdicts.html      the page
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.report.frame import save
from holdfast.report.studies import facts
from holdfast.report.studies.blocks import blocks
from holdfast.report.studies.cards import Card, cards, headline
from holdfast.report.studies.page import FILE, page_text
from holdfast.report.studies.pictures import picture_of
from holdfast.report.studies.summary import summary
from holdfast.studies.reproduce.quantities import Estimate
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.stage_key import versions

if TYPE_CHECKING:
    from pandas import DataFrame

LIMIT = 20_000_000  # bytes of everything that is kept of one scale
DIGITS = 6
NUMBERS = ("published", "corrected", "beyond_chance")


def keep_results(found: Reproduction, folder: Path | str) -> Path:
    """Keep the small results of a reproduction. What an earlier run of the same scale left is replaced.

    Args:
        found: what `holdfast.studies.reproduce.run.reproduce` returned.
        folder: such as `docs/results`; a folder with the name of the scale is made in it.

    Returns:
        Path of that folder.

    Raises:
        TypeError: `found` is not a `Reproduction`.
        ValueError: it would be more than 20 MB; nothing is written.
    """
    if not isinstance(found, Reproduction):
        raise TypeError(f"report.keep_results: expected a Reproduction, got {type(found).__name__}.")
    home = Path(folder) / found.scale
    files = dict(_files(found))
    size = sum(map(len, files.values()))
    if size > LIMIT:
        raise ValueError(
            f"report.keep_results: {size / 1e6:.1f} MB for {home}, but at most {LIMIT / 1e6:.0f} MB are kept; keep "
            "fewer studies, or a run with fewer layers."
        )
    for old in (*home.glob("tables/*.csv"), *home.glob("figures/*/*.svg")):
        if old.relative_to(home).as_posix() not in files:
            old.unlink()
    for name, content in files.items():
        save(home / name, content)
    return home


def _files(found: Reproduction) -> Iterator[tuple[str, bytes]]:
    shown = cards(found)
    drawn = blocks(found, [c.claim for c in shown], None)
    tables = {name: _text(table) for name, table in _tables(found)}
    for block in drawn:
        own = [n for n in tables if n.startswith(f"{block.study.id}-")]
        block.files.extend((n.removeprefix(f"{block.study.id}-"), [("means", f"tables/{n}.csv")]) for n in own)
        for d in block.drawn:
            yield f"figures/{block.study.id}/{d.plot.name}.svg", d.plot.svg.encode()
    for card in shown:
        for forest in card.forests:
            yield f"figures/claims/{forest.plot.name}.svg", forest.plot.svg.encode()
    yield from ((f"tables/{name}.csv", text.encode()) for name, text in tables.items())
    claims = {"headline": headline(found, shown), "claims": [_claim(card) for card in shown]}
    yield "claims.json", _json(claims)
    yield "claims.csv", _csv(shown)
    yield "manifest.json", _json(_manifest(found))
    yield FILE, page_text(found, shown, drawn).encode()


def _tables(found: Reproduction) -> "Iterator[tuple[str, DataFrame]]":
    """The summary of every table, all panels and presets together."""
    import pandas

    rows: dict[str, list[DataFrame]] = {}
    said = {s.id for s in found.studies if picture_of(s).IN_NUMBERS}
    for (study, panel, preset), tables in found.tables.items():
        for name, table in tables.items():
            if study in said and not table.empty:
                means = summary(table)
                means.insert(0, "preset", preset)
                means.insert(0, "panel", panel)
                rows.setdefault(f"{study}-{name}", []).append(means)
    return ((name, pandas.concat(frames, ignore_index=True)) for name, frames in rows.items())


def _text(table: "DataFrame") -> str:
    return table.to_csv(index=False, float_format=f"%.{DIGITS}g", lineterminator="\n")


def _claim(card: Card) -> dict[str, Any]:
    claim, findings = card.claim, card.judgement.findings if card.judgement else ()
    told = {"id": claim.id, "paper": claim.paper, "statement": claim.statement, "source": claim.source}
    told |= {"verdict": card.state, "why": card.why, "background": claim.background}
    return told | {"numbers": [_finding(f) for f in findings]}


def _finding(finding: Any) -> dict[str, Any]:
    e = finding.evidence
    asked = {"study": e.study, "panel": e.panel, "quantity": e.quantity, "table": e.table, "column": e.column}
    asked |= {"other": e.other, "where": e.where, "against": e.against, "expect": e.expect, "paper": e.paper}
    controls = [{"control": name, "claimed_is_above": above, **_estimate(n)} for name, n, above in finding.controls]
    numbers = {name: _estimate(getattr(finding, name)) for name in NUMBERS} | {"chance": finding.chance}
    return asked | numbers | {"controls": controls, "verdict": finding.verdict, "why": finding.why}


def _estimate(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "images": estimate.images}
    return numbers | {"p": estimate.p, "seeds": estimate.seeds}


def _csv(shown: list[Card]) -> bytes:
    """One row for each number; a claim without numbers has one row."""
    import pandas

    rows = []
    for card in shown:
        claim = _claim(card)
        own = {"claim": claim["id"], "claim_verdict": claim["verdict"]}
        for number in claim["numbers"] or [{}]:
            row = own | {k: v for k, v in number.items() if k not in (*NUMBERS, "controls")}
            row |= {k: json.dumps(row[k], sort_keys=True) for k in ("where", "against") if k in row}
            for name in NUMBERS:
                row |= {f"{name}_{k}": v for k, v in (number.get(name) or {}).items()}
            for control in number.get("controls", ()):
                row[f"control_{control['control'].replace(' ', '_')}"] = control["value"]
            rows.append(row)
    return _text(pandas.DataFrame(rows)).encode()


def _manifest(found: Reproduction) -> dict[str, Any]:
    scale = facts.settled(found).scale
    rules = ("network", "fit", "attack", "explain", "measure")
    return {
        "scale": scale.model_dump(mode="json", exclude=set(rules)),
        "presets": found.presets,
        "studies": {s.id: {"figure": s.figure, "seconds": found.times.get(s.id)} for s in found.studies},
        "seconds": found.seconds,
        "missing": {" ".join(name): reason for name, reason in found.missing.items()},
        "versions": versions(),
        "machine": facts.machine(),
        "settings": facts.meanings(found),
        "again": facts.command(found, found.studies),
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """JSON without NaN, numbers with few digits."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value
