"""Settings that every test runs under, where the real data are, and what a test has to say of the machine."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("busy machine", deadline=None)  # an example may wait for its turn
settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the real data files: $HOLDFAST_DATA, or shared/data beside the checkout; skips where neither is."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HOLDFAST_DATA", beside))
    if not (folder / "mnist").is_dir():
        pytest.skip(f"the real data are not at {folder}; set HOLDFAST_DATA to their folder")
    return folder


if sys.platform.startswith("linux"):
    import resource

    @pytest.fixture(autouse=True)
    def limits_as_they_were():
        """Put back what `--memory` has set: commands set limits for their process, which tests all of them here."""
        before = resource.getrlimit(resource.RLIMIT_DATA)
        yield
        resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.fixture
def say(record_property):
    """Put a sentence into the summary of the run: what was tested, where machines differ in what they let be tested."""
    return lambda sentence: record_property("said", sentence)


def pytest_terminal_summary(terminalreporter):
    """What tests said, and why some were skipped."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    properties = [pair for report in reports for pair in getattr(report, "user_properties", ())]
    for sentence in dict.fromkeys(value for name, value in properties if name == "said"):
        terminalreporter.write_line(f"said: {sentence}")
