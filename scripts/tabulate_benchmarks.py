"""Write docs/measured.md: every figure of benchmarks/results, with its bound, as it was last measured."""

import importlib
import json
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOME))
RESULTS, PAGE = HOME / "benchmarks" / "results", HOME / "docs" / "measured.md"
INTRODUCTION = """# Measured

Written by `scripts/tabulate_benchmarks.py` from `benchmarks/results/*.json`, never by hand. Times are ratios between
contestants that took turns in one process (a machine with two cores unless the line says otherwise); a bound that is
missed is a result like any other.
"""


def table(entries: list[dict]) -> list[str]:
    """One family's entries as a Markdown table."""
    lines = ["| what | value | bound | holds | detail |", "|---|---|---|---|---|"]
    for e in entries:
        value = "not finite" if e["value"] is None else f"{e['value']:.4g}"
        bound = f"{'≤' if e['kind'] == 'at_most' else '≥'} {e['bound']:.4g}"
        cells = (e["name"], value, bound, "yes" if e["holds"] else "**no**", e["detail"])
        lines.append("| " + " | ".join(str(c).replace("|", "\\|").replace("\n", " ") for c in cells) + " |")
    return lines


def main() -> None:
    """Write the page."""
    parts = [INTRODUCTION]
    for file in sorted(RESULTS.glob("*.json")):
        entries = json.loads(file.read_text(encoding="utf-8"))
        held = sum(e["holds"] for e in entries)
        parts.append(f"\n## {file.stem.replace('_', ' ')}: {held} of {len(entries)} hold\n")
        if note := getattr(importlib.import_module(f"benchmarks.{file.stem}"), "NOTE", ""):
            parts.append(note + "\n")
        parts.append("\n".join(table(entries)))
    PAGE.write_text("\n".join(parts) + "\n", encoding="utf-8")
    print(f"wrote {PAGE.relative_to(HOME)}")


if __name__ == "__main__":
    main()
