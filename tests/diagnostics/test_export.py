"""What is exported is what ArviZ understands: its own functions on the tree give our numbers."""

import math
import sys

import numpy as np
import pytest
import torch

from holdfast.data import Split
from holdfast.diagnostics import mixing, to_arviz, write_arviz
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.networks import fc2

DATA = Split(torch.rand(4, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0]))


def posterior(chains=2, draws=10):
    ensemble = Ensemble.from_networks([fc2((2,), 2, width=4, seed=s) for s in range((chains or 1) * draws)])
    numbers = torch.randn(len(ensemble), generator=torch.Generator().manual_seed(2)).tolist()
    history = {"energy": numbers, "energy_error": [*numbers[:-2], 1e4, float("nan")], "loss": [1.0]}
    history |= {"leapfrog_steps": list(range(len(ensemble)))}
    summary = {"step_size": [0.1 * (k + 1) for k in range(chains or 1)]}
    settings = {"chains": chains} if chains else {}
    return Ensemble(ensemble.network, ensemble.weights, Diagnostics("hmc", settings, summary, history))


def test_arviz_reads_the_tree(tmp_path):
    pytest.importorskip("xarray_einstats")
    import arviz_stats
    import xarray

    ensemble = posterior()
    path = write_arviz(tmp_path / "draws.nc", ensemble, DATA)
    tree = xarray.open_datatree(path, engine="h5netcdf")
    p = ensemble.logits(DATA.images).double().softmax(-1)
    assert dict(tree["posterior_predictive"].sizes) == {"chain": 2, "draw": 10, "image": 4, "class": 2}
    np.testing.assert_allclose(tree["posterior_predictive/probability"].values.reshape(20, 4, 2), p)
    true = torch.stack([p[:, i, y] for i, y in enumerate(DATA.labels)], 1).log()
    np.testing.assert_allclose(tree["log_likelihood/label"].values.reshape(20, 4), true)
    assert tree["observed_data/label"].values.tolist() == [0, 1, 1, 0]
    theirs = arviz_stats.rhat(tree, group="posterior_predictive")["probability"].values.ravel()
    np.testing.assert_allclose(theirs, mixing(p, 2).rhat)
    names = ["acceptance_rate", "diverging", "energy", "energy_error", "n_steps", "step_size"]
    assert sorted(tree["sample_stats"].data_vars) == names
    assert tree["sample_stats/n_steps"].values.ravel().tolist() == list(range(20))
    assert tree["sample_stats/step_size"].values[:, 0].tolist() == [0.1, 0.2]
    errors = ensemble.diagnostics.history["energy_error"][:-2]
    rates = [*(min(1.0, math.exp(-e)) for e in errors), 0.0, 0.0]
    np.testing.assert_allclose(tree["sample_stats/acceptance_rate"].values.ravel(), rates)
    assert tree["sample_stats/diverging"].values.ravel().nonzero()[0].tolist() == [18, 19]
    assert np.isfinite(arviz_stats.bfmi(tree)["energy"].values).all()
    assert tree.attrs["method"] == "hmc"
    assert not any("weight" in name for name in tree.to_dict())
    tree.close()


def test_independent_draws_are_one_chain():
    pytest.importorskip("h5netcdf")
    tree = to_arviz(posterior(None), DATA)
    assert tree["log_likelihood"].sizes["chain"] == 1
    assert tree.attrs["draws_are"] == "independent"


def test_errors(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in .nc, got draws.h5"):
        write_arviz(tmp_path / "draws.h5", posterior(), DATA)
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(ImportError, match=r"h5netcdf is not installed; use pip install 'holdfast\[arviz\]'"):
        to_arviz(posterior(), DATA)
