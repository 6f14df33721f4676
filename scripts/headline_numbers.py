"""Write the README's table of claims from docs/results, between two markers; never by hand.

The results are those of the largest scale that is kept: paper, laptop, smoke.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

from holdfast.report import wording
from holdfast.report.studies.cards import STATES
from holdfast.report.studies.draws import draws_here
from holdfast.report.studies.evidence import number_in_words
from holdfast.report.studies.posteriors import kept_fits
from holdfast.report.studies.sides import PRESETS
from holdfast.report.studies.sizes import images_tested, images_trained, own_widths, training_seeds, widths
from holdfast.report.studies.unlearnt import kept_rows as shares
from holdfast.report.studies.unlearnt import unlearnt
from holdfast.report.studies.unmixed import unmixed
from holdfast.studies.reproduce.claim import Evidence
from holdfast.studies.reproduce.kept import changed
from holdfast.studies.reproduce.plan import Part, plan
from holdfast.studies.reproduce.study import studies

HOME = Path(__file__).resolve().parents[1]
SCALES = ("paper", "laptop", "smoke")
START = "<!-- claims: written by scripts/headline_numbers.py from docs/results, never by hand -->"
END = "<!-- end of claims -->"
LONG = 300  # letters of a command that a README can bear
BEFORE = "## Install"  # a README without markers gets them above this


def signed(value: float | None) -> str:
    """A number with its sign and two decimals, or three where two would make zero of it; a dash where there is none."""
    short = wording.signed(value)
    return wording.signed(value, 3) if value and short == "0.00" else short


def estimate(number: dict | None) -> str:
    """A number with its interval."""
    return "–" if not number else f"{signed(number['value'])} [{signed(number['low'])}, {signed(number['high'])}]"


def corrected(number: dict) -> str:
    """The corrected number with the sign of its own finding, which need not be the claim's."""
    own = estimate(number.get("corrected"))
    return f"{STATES[number['verdict']][1]} {own}" if number.get("corrected") else own


def sides(claim: dict) -> str:
    """How many numbers lie on the claimed side, either way; a dash where that is not known."""
    counts = claim.get("on_the_claimed_side", {})
    said = [f"{PRESETS[preset]} {there}/{total}" for preset, (there, total) in counts.items() if total]
    return ", ".join(said) or "–"


def what(number: dict, scale: str) -> str:
    """What a number is, in words; empty where there is none."""
    if not number:
        return ""
    own = {k: v for k, v in number.items() if k in Evidence.model_fields and k != "controls"}
    evidence = Evidence.model_validate(own)
    known = studies().get(evidence.study)
    panel = next((p for p in known.panels if p.title == evidence.panel), None) if known else None
    return number_in_words(evidence, draws_here(known, panel, scale) if panel else None)


def verdict(claim: dict) -> str:
    """The verdict, and how many numbers say what."""
    why = claim["why"].removeprefix("It is said of every case; ").rstrip(".")
    return f"**{claim['verdict']}**" + (f": {why[:1].lower()}{why[1:]}" if why else "")


def row(claim: dict, scale: str) -> str:
    """One claim: its first number, and its verdict, which rests on all of them."""
    first = next((n for n in claim["numbers"] if n["corrected"] or n["published"]), {})
    cells = [claim["id"], claim["statement"], what(first, scale), signed(first.get("paper"))]
    cells += [estimate(first.get("published")), corrected(first), sides(claim), verdict(claim)]
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def paper_row(paper: dict) -> str:
    """One paper: what became of its claims, and of how many numbers."""
    said = ", ".join(f"{STATES[state][1]} {state}: {n}" for state, n in paper["verdicts"].items())
    return f"| **{paper['id']}** {paper['title']} | {said} | {paper['sides']} |"


def signs() -> str:
    """What the signs of findings mean."""
    return ", ".join(f"{STATES[state][1]} {state}" for state in ("holds", "holds weaker", "does not hold"))


def hours(runs: Iterable[dict]) -> str:
    """How long all runs computed, machine by machine."""
    by: dict[str, float] = {}
    for run in runs:
        by[run["machine"]] = by.get(run["machine"], 0) + run["seconds"] / 3600
    return "; ".join(f"{time:.1f} core-hours on a machine of {machine}" for machine, time in by.items())


def parts(runs: Iterable[dict], scale: str) -> tuple[list[Part], list[str]]:
    """What the runs computed with the settings that are declared now, and the studies of which some have changed."""
    then = {
        (study, title): panel["settings"]
        for run in runs
        for study, own in run["studies"].items()
        for title, panel in own["panels"].items()
    }
    chosen = (study.only([title for name, title in then if name == study.id]) for study in studies().values())
    done = plan([study for study in chosen if study], scale)
    other = changed(done, then)
    known = [part for part in done if (part.study.id, part.panel.title) not in other]
    return known, list(dict.fromkeys(study for study, title in then if (study, title) in other))


def below(results: Path, manifest: dict) -> list[str]:
    """What must be known to read the table: how large everything was, how the chains are, what it took."""
    sizes, scale, runs = manifest["scale"], results.name, manifest["runs"]
    done, others = parts(runs, scale)
    commands = [run["again"] for run in runs]
    many = f"[the command{'s' if len(commands) > 1 else ''} in its manifest](docs/results/{scale}/manifest.json)"
    again = f"`{commands[0]}`" if len(commands) == 1 and len(commands[0]) < LONG else many
    count = f"{len(runs)} runs, what they share counted in each" if len(runs) > 1 else "One run"
    paragraphs = [
        f"The first number of each claim with its 95 % interval; a verdict rests on [all of them]"
        f"(docs/results/{scale}), with their controls. The sign before a corrected value is what it says by itself: "
        f"{signs()}. On the claimed side are those of all numbers whose whole interval lies there, whatever their "
        f"controls do. Scale `{scale}`. Training seeds: "
        f"{training_seeds(done, sizes['seeds'])}. Test images: "
        f"{images_tested(done, sizes['points'])}. Training images: {images_trained(done, sizes['train'])}. "
        + " ".join(f"Units in a layer of {name}: {widths(done, name, own)}." for name, own, _ in own_widths(scale))
        + (f" Of {', '.join(others)}, what was computed had settings that have changed since." if others else ""),
        unmixed(kept_fits(results, scale)),
        unlearnt(shares(results)),
        f"{count}: {hours(runs)}; again by {again}.",
    ]
    return [line for paragraph in paragraphs if paragraph for line in (paragraph, "")]


def section(results: Path) -> str:
    """The lines between the markers."""
    told = json.loads((results / "claims.json").read_text(encoding="utf-8"))
    manifest = json.loads((results / "manifest.json").read_text(encoding="utf-8"))
    smoke = " This scale proves that everything runs, not what it shows." if results.name == "smoke" else ""
    lines = [
        START, "", "## The papers' claims, tried", "", f"{told['headline']}{smoke}", "",
        "| paper | its claims | numbers that lie on the claimed side with their whole interval |", "|---|---|---|",
        *map(paper_row, told["papers"]), "",
        "| claim | | first number | paper | as published | corrected | on the claimed side | verdict |",
        "|---|---|---|---|---|---|---|---|",
        *(row(claim, results.name) for claim in told["claims"]), "", *below(results, manifest), END,
    ]  # fmt: skip
    return "\n".join(lines)


def written(readme: str, text: str) -> str:
    """The README with its section replaced, or put in."""
    if START in readme and END in readme:
        return readme[: readme.index(START)] + text + readme[readme.index(END) + len(END) :]
    if BEFORE not in readme:
        raise SystemExit(f"README.md has neither the markers nor a heading {BEFORE!r} to put them above.")
    return readme.replace(BEFORE, f"{text}\n\n{BEFORE}", 1)


def main(home: Path = HOME) -> None:
    """Write it."""
    kept = [home / "docs" / "results" / s for s in SCALES]
    results = next((k for k in kept if (k / "claims.json").is_file()), None)
    if results is None:
        raise SystemExit("There are no results: run `holdfast reproduce all --scale laptop --keep docs/results` first.")
    file = home / "README.md"
    file.write_text(written(file.read_text(encoding="utf-8"), section(results)), encoding="utf-8")
    print(f"wrote the claims of {results.relative_to(home)} into README.md")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
