"""The Python in the documents runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def blocks(name):
    return re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("posteriors.md"))))
def test_posteriors(number, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(blocks("posteriors.md")[number], encoding="utf-8")
    run = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stderr
    expected = ("ensemble of 2 local chains", "3 3")[number]
    assert expected in run.stdout
