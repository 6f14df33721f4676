"""Stacked cells: each row is the chain that its cell alone would give."""

import pytest
import torch
from hmc_problems import accuracy, blobs
from torch import nn

from holdfast.inference import Training
from holdfast.inference.hmc import Plan, stacked_cells
from holdfast.inference.seeds import member_seeds
from holdfast.networks import fc2

PLAN = Plan(draws=6, warm_up=6, burn_in=(0.3,), start=Training(epochs=4, batch_size=32))


def test_every_cell_learns_its_own_data():
    cells = [blobs(120), blobs(120, seed=1)]
    cells[1] = type(cells[1])(cells[1].images, (cells[1].labels + 1) % 3)  # another labelling
    found = stacked_cells(fc2((4,), 3, width=16), cells, seed=0, preset=PLAN)
    for ensemble, data, other in zip(found, cells, cells[::-1]):
        assert len(ensemble) == 6
        assert accuracy(ensemble, data) > 0.9
        assert accuracy(ensemble, other) < 0.2
        assert len(ensemble.diagnostics.history["accepted"]) == 6


def test_discarded_trajectories_are_the_first_ones():
    cell = blobs(60)
    network = nn.Linear(4, 3).double()
    data = type(cell)(cell.images.double(), cell.labels)
    early, late = stacked_cells(network, [data, data], seed=0, preset=PLAN, discard=[0, 3])
    longer = Plan(**{**PLAN.__dict__, "draws": 9})
    whole = stacked_cells(network, [data, data], seed=0, preset=longer)
    assert torch.equal(early.weights["weight"], whole[0].weights["weight"][:6])
    assert torch.equal(late.weights["weight"], whole[1].weights["weight"][3:])
    assert not torch.equal(early.weights["weight"], late.weights["weight"])
    assert len(set(member_seeds(0, 2))) == 2


@pytest.mark.parametrize(
    ("cells", "discard", "match"),
    [
        ([], None, "expected at least one cell"),
        ([blobs(20), blobs(30)], None, r"equally many images, got \[20, 30\]; call once for each size"),
        ([blobs(20)], [1, 2], "discard must be one number of at least 0 for each of 1 cells"),
    ],
)
def test_bad_cells(cells, discard, match):
    with pytest.raises(ValueError, match=match):
        stacked_cells(nn.Linear(4, 3), cells, seed=0, discard=discard)
