"""Stacked cells: each row is the chain of its own cell."""

from dataclasses import replace

import pytest
from hmc_problems import accuracy, blobs
from torch import nn

from holdfast.inference import Training
from holdfast.inference.hmc import Plan, stacked_cells
from holdfast.networks import fc2

PLAN = Plan(draws=6, warm_up=6, burn_in=(0.3,), start=Training(epochs=4, batch_size=32))


@pytest.mark.parametrize("mass", ["prior", "kron_in"])
def test_every_cell_learns_its_own_data(mass):
    cells = [blobs(120), blobs(120, seed=1)]
    cells[1] = type(cells[1])(cells[1].images, (cells[1].labels + 1) % 3)  # another labelling
    found = stacked_cells(fc2((4,), 3, width=16), cells, seed=0, preset=replace(PLAN, mass=mass))
    for ensemble, data, other in zip(found, cells, cells[::-1]):
        assert len(ensemble) == 6
        assert accuracy(ensemble, data) > 0.9
        assert accuracy(ensemble, other) < 0.2
        assert len(ensemble.diagnostics.history["accepted"]) == 6


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ([], "expected at least one cell"),
        ([blobs(20), blobs(30)], r"equally many images, got \[20, 30\]; call once for each size"),
    ],
)
def test_bad_cells(cells, match):
    with pytest.raises(ValueError, match=match):
        stacked_cells(nn.Linear(4, 3), cells, seed=0)
