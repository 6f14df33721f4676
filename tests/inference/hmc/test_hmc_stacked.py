"""Stacked cells: each row is the chain of its own cell."""

import json
from dataclasses import replace

import pytest
import torch
from hmc_problems import Residual, accuracy, blobs
from interrupted import check_that_it_goes_on
from torch import nn

from holdfast.inference import Path as Walk
from holdfast.inference import StudentT, Training
from holdfast.inference.fingerprint import data_of
from holdfast.inference.hmc import Plan, hmc, stacked_cells
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


def run(folder, **changes):
    """A short run of three cells."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3))
    cells = changes.pop("cells", [blobs(40, seed=s) for s in range(3)])
    return stacked_cells(network, cells, **{"seed": 0, "preset": PLAN, "folder": folder, **changes})


def same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert all(torch.equal(v, b.weights[k]) for k, v in a.weights.items())
        assert a.diagnostics == b.diagnostics


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing happened to, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return run(folder), folder


@pytest.mark.parametrize("until", ["warm-up-00001*", "draw-00002*"])
def test_killed_cells_go_on_with_the_same_bytes(whole, tmp_path, until):
    check_that_it_goes_on("test_hmc_stacked", run, same, whole, tmp_path, until)


def test_a_folder_changes_no_byte_and_more_draws_of_the_same_cells_are_not_drawn_again(whole, tmp_path):
    same(run(None), whole[0])
    short = run(tmp_path, preset=replace(PLAN, draws=2))
    stamps = {f: f.stat().st_mtime_ns for f in tmp_path.rglob("draw-*")}
    assert len(stamps) == 2
    same(run(tmp_path), whole[0])
    assert all(f.stat().st_mtime_ns == stamp for f, stamp in stamps.items())
    for few, all_of_them in zip(short, whole[0], strict=True):
        assert all(torch.equal(v, all_of_them.weights[k][:2]) for k, v in few.weights.items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, "its seed is 0, here it is 1; call with the same arguments to go on, or choose another folder"),
        ({"precision": "bfloat16"}, "its precision is float32, here it is bfloat16"),
        ({"cells": [blobs(40, seed=s) for s in (0, 2, 1)]}, "its data is "),
        ({"cells": [blobs(40)]}, "its cells is 3, here it is 1"),
    ],
)
def test_a_folder_of_other_cells(whole, changes, words):
    with pytest.raises(ValueError, match=f"^inference.hmc.stacked_cells: .* holds another run: {words}"):
        run(whole[1], **changes)


def test_a_folder_of_cells_is_none_of_hmc_and_the_reverse(tmp_path):
    (cell,), network = [blobs(40)], nn.Linear(4, 3)
    stacked_cells(network, [cell], seed=0, preset=PLAN, folder=tmp_path / "cells")
    with pytest.raises(ValueError, match=r"^inference.hmc: .* holds another run"):
        hmc(network, cell, seed=0, preset=replace(PLAN, chains=1), precision="float32", folder=tmp_path / "cells")
    assert json.loads((tmp_path / "cells" / "manifest.json").read_text())["cells"] == 1
    with pytest.raises(TypeError, match=r"^inference.hmc.stacked_cells: folder must be a path, got 5; pass a str"):
        stacked_cells(network, [cell], seed=0, preset=PLAN, folder=5)


def test_memory_cuts_the_images_and_leaves_the_draws():
    cells = [blobs(40, seed=s, dtype=torch.float64) for s in range(2)]
    few = replace(PLAN, draws=2, warm_up=3)
    whole, cut = (
        stacked_cells(fc2((4,), 3, width=8, seed=0).double(), cells, seed=0, preset=few, memory=m) for m in (1 << 30, 1)
    )
    for a, b in zip(whole, cut, strict=True):
        for name, value in a.weights.items():
            torch.testing.assert_close(b.weights[name], value, rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match=r"^inference.hmc.stacked_cells: memory must lie in \[1, "):
        run(None, memory=0)


def test_an_approach_and_the_number_of_chains_are_not_used_nor_recorded():
    (found,) = run(None, cells=[blobs(40)], preset=replace(PLAN, chains=4, approach=Walk(epochs=1), draws=1))
    assert found.diagnostics.settings["plan"]["chains"] == 1
    assert found.diagnostics.settings["plan"]["approach"] is None
    assert len(found) == 1


@pytest.mark.parametrize("prior", ["student_t", "emp_cov", StudentT()])
def test_priors_that_cells_cannot_share_are_refused(prior):
    with pytest.raises(ValueError, match=r"^inference.hmc.stacked_cells: prior must be 'fan_in', 'unit', FanIn"):
        run(None, prior=prior)
