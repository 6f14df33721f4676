"""The diagnosis of a fit as one row: chains that agree, chains that do not, and members without chains."""

from dataclasses import replace

import pytest
import torch

from holdfast import diagnostics, inference, networks
from holdfast.data import load
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.studies.engine.kind import Context, kind_of

SETTINGS = {"data": "fashion-mini", "points": 10, "images": 60, "seed": 0}


def members(count, spread, seed=0):
    """Networks near one of two, the first half near the first."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for s in range(count):
        network = networks.fc2((1, 28, 28), 10, width=8, seed=2 * s // count)
        for p in network.parameters():
            p.data += spread * torch.randn(p.shape, generator=generator)
        found.append(network)
    return Ensemble.from_networks(found)


def row(ensemble, tmp_path):
    kind = kind_of("diagnosis")
    file = tmp_path / f"row{kind.codec.suffix}"
    kind.codec.write(file, kind.compute(SETTINGS, {"ensemble": ensemble}, Context()))
    (found,) = kind.codec.read(file).to_dict("records")
    return found


def test_it_is_what_diagnose_says(tmp_path):
    chains = Diagnostics(
        "hmc",
        {"chains": 2},
        {"acceptance": 0.75, "deviation_over_prior": {"output.weight": 0.642}},
        warnings=("Chain 1 was still drifting.",),
    )
    ensemble = replace(members(20, 0.01), diagnostics=chains)
    found, whole = (
        row(ensemble, tmp_path),
        diagnostics.diagnose({"it": ensemble}, load("fashion-mini").test, points=10, images=60, seed=0),
    )
    assert found["mixing"] == whole.verdicts["it"] == "ensemble of 2 local chains"
    assert (found["kept"], found["distinct"], found["chains"], found["acceptance"]) == (20, 20, 2, 0.75)
    assert found["said"] == "Chain 1 was still drifting."
    assert found["deviation_over_prior"] == "output.weight 0.64"
    families = whole.functions.set_index("functions_of")
    assert found["relevance_rhat_99"] == families.rhat_99["relevance"] > 1.5
    assert found["log_probability_ess_50"] == families.ess_50["true_class_log_probability"] < 10  # of 20 draws
    held = whole.differences[whole.differences.quantity == "mean_map_robustness"].iloc[0]
    assert (found["robustness"], found["robustness_mcse"]) == (held.value, held.mcse)


def test_members_without_chains(tmp_path):
    found = row(inference.deep_ensemble(
        networks.fc2((1, 28, 28), 10, width=8), load("fashion-mini").train[:200], seed=0, members=3,
        training=inference.Training(epochs=1),
    ), tmp_path)  # fmt: skip
    assert (found["mixing"], found["kept"], found["said"]) == ("independent draws", 3, "")
    assert found["chains"] != found["chains"]
    assert found["relevance_ess_50"] == pytest.approx(3)


def test_points_of_two_coordinates_have_maps_of_two_pixels():
    ensemble = Ensemble.from_networks([networks.fc2((2,), 2, width=8, seed=s) for s in range(3)])
    settings = SETTINGS | {"data": "half-moons"}
    (found,) = kind_of("diagnosis").compute(settings, {"ensemble": ensemble}, Context()).to_dict("records")
    assert found["kept"] == 3
    assert 0 <= found["robustness"] <= 1
