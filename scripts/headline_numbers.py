"""Write the README's table of claims from docs/results, between two markers; never by hand.

The results are those of the largest scale that is kept: paper, laptop, smoke.
"""

import json
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
SCALES = ("paper", "laptop", "smoke")
START = "<!-- claims: written by scripts/headline_numbers.py from docs/results, never by hand -->"
END = "<!-- end of claims -->"
LONG = 300  # letters of a command that a README can bear
BEFORE = "## Install"  # a README without markers gets them above this


def signed(value: float | None) -> str:
    """A number with its sign and a true minus; a dash where there is none."""
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def estimate(number: dict | None) -> str:
    """A number with its interval."""
    return "–" if not number else f"{signed(number['value'])} [{signed(number['low'])}, {signed(number['high'])}]"


def row(claim: dict) -> str:
    """One claim: its verdict, and its first number."""
    first = next((n for n in claim["numbers"] if n["corrected"] or n["published"]), {})
    cells = [claim["id"], claim["statement"], signed(first.get("paper")), estimate(first.get("published"))]
    tested = sum(n["corrected"] is not None for n in claim["numbers"])
    part = f" ({tested} of {len(claim['numbers'])} numbers)" if 0 < tested < len(claim["numbers"]) else ""
    cells += [estimate(first.get("corrected")), f"**{claim['verdict']}**{part}"]
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def section(results: Path) -> str:
    """The lines between the markers."""
    found = json.loads((results / "claims.json").read_text(encoding="utf-8"))
    manifest = json.loads((results / "manifest.json").read_text(encoding="utf-8"))
    scale = manifest["scale"]
    commands = [run["again"] for run in manifest["runs"]]
    many = f"[the command{'s' if len(commands) > 1 else ''} in its manifest](docs/results/{results.name}/manifest.json)"
    again = f"`{commands[0]}`" if len(commands) == 1 and len(commands[0]) < LONG else many
    smoke = " This scale proves that everything runs, not what it shows." if results.name == "smoke" else ""
    lines = [
        START, "", "## The papers' claims, tried", "", f"{found['headline']}{smoke}", "",
        "| claim | | paper | as published | corrected | verdict |", "|---|---|---|---|---|---|",
        *map(row, found["claims"]), "",
        f"Scale `{results.name}`: {scale['points']} test images, {len(scale['seeds'])} training seed"
        f"{'s' if len(scale['seeds']) > 1 else ''}. The first number of each claim, with its 95 % interval; "
        f"[all of them](docs/results/{results.name}), again by {again}.", "", END,
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
