"""Stacked cells: each row is the chain of its own cell."""

from dataclasses import replace

import pytest
import torch
from hmc_problems import Residual, accuracy, blobs
from torch import nn

from holdfast.inference import Training
from holdfast.inference.fingerprint import data_of
from holdfast.inference.hmc import Plan, stacked_cells
from holdfast.networks import conv, fc2

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
        assert ensemble.diagnostics.settings["data"] == data_of(data)


@pytest.mark.parametrize(
    ("cells", "error", "match"),
    [
        ([], ValueError, "expected at least one cell, got an empty list"),
        ([blobs(20), blobs(30)], ValueError, r"equally many images, got \[20, 30\]; call once for each size"),
        (
            blobs(20),
            TypeError,
            r"cells must be a list of Splits, one for each data set, got Split; pass \[split\] for a single one",
        ),
        (None, TypeError, "cells must be a list of Splits, one for each data set, got NoneType"),
        (iter([]), TypeError, "cells must be a list of Splits, one for each data set, got list_iterator"),
        ([blobs(20), blobs(20).images], TypeError, r"cells\[1\] must be a Split\(...\), got tensor"),
        (
            [blobs(20), blobs(20, dtype=torch.float64)],
            TypeError,
            r"images of one dtype, got torch.float32, torch.float64; bring all to one with .float\(\) or .double\(\)",
        ),
    ],
)
def test_bad_cells(cells, error, match):
    with pytest.raises(error, match=f"^inference.hmc.stacked_cells: .*{match}"):
        stacked_cells(nn.Linear(4, 3), cells, seed=0)


def test_cells_of_different_shapes():
    network, cells = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), [blobs(8, (1, 4, 4)), blobs(8, (1, 2, 8))]
    with pytest.raises(ValueError, match=r"stacked_cells: .* one shape, got \[\(1, 2, 8\), \(1, 4, 4\)\]; call once"):
        stacked_cells(network, cells, seed=0)


def test_cells_refuse_what_hmc_refuses():
    cells = [blobs(8, (1, 16, 16)), blobs(8, (1, 16, 16), seed=1)]
    with pytest.raises(ValueError, match="stacked_cells: mass='kron_in' needs a plain network of linear layers; use"):
        stacked_cells(conv((1, 16, 16), 3, width=2), cells, seed=0, preset=replace(PLAN, mass="kron_in"))
    with pytest.raises(ValueError, match="stacked_cells: layer norm is batch normalisation"):
        stacked_cells(Residual(), [blobs(8, (1, 6, 6))], seed=0, preset=PLAN)
    with pytest.raises(TypeError, match=r"stacked_cells: images must be float32 or float64, got torch.float16"):
        stacked_cells(nn.Linear(4, 3), [blobs(8, dtype=torch.float16)], seed=0, preset=PLAN)
    with pytest.raises(TypeError, match=r"^inference.hmc.stacked_cells: seed must be a whole number, got None"):
        stacked_cells(nn.Linear(4, 3), [blobs(8)], seed=None, preset=PLAN)
