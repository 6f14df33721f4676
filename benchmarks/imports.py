"""Imports: what `import holdfast` costs beside `import torch` alone, each in a fresh Python, in turns."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.measure import ROOT, describe, entry, interleave, ratio

ROOMS = "import holdfast; [getattr(holdfast, room) for room in holdfast.ROOMS]"
CODES = {
    "torch": "import torch",
    "holdfast": "import holdfast",
    "torch and holdfast": "import torch, holdfast",
    "all rooms": ROOMS,
    "holdfast --help": "import sys; sys.argv = ['holdfast', '--help']; from holdfast.__main__ import main; main()",
}


def run() -> list[dict[str, Any]]:
    """All entries of this family."""
    seconds = interleave({name: fresh(code) for name, code in CODES.items()}, rounds=5)
    bounds = {"holdfast": 1.5, "torch and holdfast": 1.5, "all rooms": 1.5, "holdfast --help": 1.0}
    return [
        entry(
            f"{name}, time to `import torch`",
            ratio(seconds, name, "torch"),
            bound,
            "at_most",
            describe({k: seconds[k] for k in (name, "torch")}),
        )
        for name, bound in bounds.items()
    ]


def fresh(code: str) -> Callable[[], None]:
    """Run code in a Python of its own."""
    return lambda: subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
