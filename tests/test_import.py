"""Importing holdfast, and asking the command for help, load nothing heavy."""

import subprocess
import sys

import pytest

import holdfast

HEAVY = ("torch", "pandas", "matplotlib", "scipy", "statsmodels", "pooch")


def loaded(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*(m for m in {HEAVY} if m in sys.modules))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize("code", ["import holdfast", "import holdfast.cli", "import holdfast.__main__"])
def test_nothing_heavy_is_imported(code):
    assert loaded(code) == set()


def test_rooms_load_nothing_but_torch():
    assert loaded("import holdfast\n[getattr(holdfast, r) for r in holdfast.ROOMS]") <= {"torch"}


def test_an_unknown_name_lists_the_known():
    with pytest.raises(AttributeError, match=r"no attribute 'attack'; it has data, networks"):
        holdfast.attack  # noqa: B018


def test_every_public_name_is_there():
    assert all(getattr(holdfast, name) is not None for name in holdfast.__all__)
    assert set(holdfast.__all__) <= set(dir(holdfast))
