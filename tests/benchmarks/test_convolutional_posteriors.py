"""The benchmark of convolutional posteriors: its figures, and that finished rows are kept."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import benchmarks.__main__ as command

from benchmarks import convolutional_posteriors as benchmark
from holdfast.data import Dataset, Split
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.networks import fc2


def made():
    networks = [fc2((4,), 3, width=5, seed=s) for s in range(3)]
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.rand(40, 4, generator=generator), torch.randint(0, 3, (40,), generator=generator))
    ensemble = Ensemble.from_networks(networks)
    found = Diagnostics(
        "mean_field", summary={"deviation_over_prior": {"output.bias": 0.5}, "divergence_per_image": 2.0}
    )
    return Ensemble(ensemble.network, ensemble.weights, found), Dataset("d", split, split, ("a", "b", "c"), "0")


def test_figures_are_those_of_the_averaged_probabilities():
    ensemble, dataset = made()
    with torch.no_grad():
        each = torch.stack([nn.functional.softmax(ensemble.module(s)(dataset.test.images), 1) for s in range(3)])
    labels = dataset.test.labels
    found = benchmark.figures(ensemble, dataset.test)
    assert found["accuracy"] == pytest.approx(float((each.mean(0).argmax(1) == labels).float().mean()))
    assert found["nll"] == pytest.approx(float(-each.mean(0)[range(40), labels].log().mean()), rel=1e-5)
    assert found["one_draw"] == pytest.approx(float((each.argmax(2) == labels).float().mean()))
    assert (found["draws"], found["random_weights"]) == (3, 3)


def test_finished_rows_are_kept_until_their_settings_change(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmark.machine, "tune", lambda: {})
    calls = []

    def make():
        calls.append(1)
        return made()

    rows = {"one": ("first", 0.1, make, {"epochs": 1}), "two": ("second", 0.1, make, {"epochs": 1})}
    monkeypatch.setattr(benchmark, "ROWS", rows)
    assert benchmark.main(["two"]) == 0
    assert benchmark.main([]) == 0
    assert len(calls) == 2  # the second row was there
    rows["one"] = (*rows["one"][:3], {"epochs": 2})
    benchmark.main([])
    assert len(calls) == 3
    found = json.loads((tmp_path / "convolutional_posteriors.json").read_text())
    assert [e["name"] for e in found] == ["first", "second"]
    assert found[0]["settings"] == {"epochs": 2}
    assert "KL of 3 weights 2.000 nats per image" in found[0]["detail"]
    with pytest.raises(SystemExit):
        benchmark.main(["three"])
    path = tmp_path / f"{benchmark.FAMILY}.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps([e | {"detail": "as of old"} for e in told]), encoding="utf-8")
    benchmark.main([])
    assert len(calls) == 3
    assert json.loads(path.read_text(encoding="utf-8")) == told  # said anew of the same figures
