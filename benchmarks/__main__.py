"""`python -m benchmarks [FAMILY ...]`: run benchmark families, print their tables, write `results/FAMILY.json`.

A family is a file of this folder with a function `run()` that returns a list of `measure.entry(...)`. Without arguments
every family runs. The exit code is 1 only where a family crashed: a bound that does not hold is a result, printed
plainly.
"""

import argparse
import gc
import importlib
import json
import math
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from holdfast import machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ORDER = ("relevance", "posteriors", "attacks", "boundaries", "scale")  # others follow by name
NOT_FAMILIES = {"__init__", "__main__", "measure"}


def families() -> list[str]:
    """Names of the families in this folder, in the order in which they run."""
    found = {
        path.stem
        for path in HERE.glob("*.py")
        if path.stem not in NOT_FAMILIES and "\ndef run(" in path.read_text(encoding="utf-8")
    }
    return [name for name in ORDER if name in found] + sorted(found.difference(ORDER))


def write(family: str, entries: list[dict[str, Any]]) -> Path:
    """Write a family's entries, whole or not at all."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{family}.json"
    partial = path.with_suffix(".json.tmp")
    finite = [e | {"value": e["value"] if math.isfinite(e["value"]) else None} for e in entries]  # JSON has no NaN
    partial.write_text(json.dumps(finite, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def show(family: str, entries: list[dict[str, Any]]) -> None:
    """Print a family's table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("benchmark", "value", "bound", "holds", "detail", title=family, title_justify="left")
    for e in entries:
        sign = "≤" if e["kind"] == "at_most" else "≥"
        holds = "[green]yes[/]" if e["holds"] else "[bold red]NO[/]"
        table.add_row(e["name"], f"{e['value']:.4g}", f"{sign} {e['bound']:.4g}", holds, e["detail"])
    Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the families named, or all; 1 where one crashed."""
    found = families()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Run the project's benchmarks.")
    parser.add_argument("family", nargs="*", help=f"which families to run: {', '.join(found)} (default: all)")
    chosen = parser.parse_args(arguments).family or found
    if unknown := sorted(set(chosen).difference(found)):
        parser.error(f"no such family: {', '.join(unknown)}; there are {', '.join(found)}")
    print("machine:", ", ".join(f"{name} {value}" for name, value in machine.tune().items()))
    crashed, failed, count = [], 0, 0
    for family in chosen:
        try:
            entries = list(importlib.import_module(f"benchmarks.{family}").run())
            write(family, entries)
        except Exception:
            traceback.print_exc()
            crashed.append(family)
            continue
        show(family, entries)
        count += len(entries)
        failed += sum(not e["holds"] for e in entries)
        gc.collect()
    print(f"{count - failed} of {count} bounds hold" + (f"; crashed: {', '.join(crashed)}" if crashed else ""))
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
