"""Settings that every test runs under: one torch thread per worker, no deadlines, and where the real data are."""

import os
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
