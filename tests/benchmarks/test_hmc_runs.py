"""The records of the long HMC runs: their names, what they say of mixing, and what the table makes of it."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.measure import processor

from benchmarks import hmc as benchmark
from benchmarks import hmc_runs
from holdfast.data import Dataset, Split
from holdfast.ensemble import Ensemble
from holdfast.inference import Training
from holdfast.inference.hmc import Plan
from holdfast.networks import fc2


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("mnist", "fc2", "cpu-hour"), "mnist"),
        (("mnist", "fc2", "gpu-minutes"), "mnist-gpu-minutes"),
        (("mnist", "conv", "smoke"), "mnist-conv-smoke"),
        (("fashion-mnist", "conv", "cpu-hour"), "fashion-mnist-conv"),
    ],
)
def test_no_run_takes_anothers_place(arguments, name):
    assert hmc_runs.record_name(*arguments) == name


def test_every_record_is_of_a_run_that_has_its_name():
    for name in benchmark.RUNS:
        record = json.loads((hmc_runs.RECORDS / f"{name}.json").read_text(encoding="utf-8"))
        words = record["command"].split()
        options = dict(zip(words[4::2], words[5::2]))
        network, preset = options.get("--network", "fc2"), options.get("--preset", "cpu-hour")
        assert hmc_runs.record_name(words[3], network, preset) == name


def test_a_run_is_kept_with_its_diagnosis(tmp_path, monkeypatch, capsys):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(60, 1, 6, 6, generator=generator)
    split = Split(images, (images.mean((1, 2, 3)) > 0.5).long())
    plan = Plan(chains=2, draws=5, warm_up=3, burn_in=(0.3,), start=Training(epochs=2))
    inner = hmc_runs.hmc
    monkeypatch.setattr(hmc_runs.data, "load", lambda *_, **__: Dataset("mnist", split, split, ("a", "b"), "0"))
    monkeypatch.setattr(hmc_runs, "hmc", lambda *a, preset, draws, mass, **k: inner(*a, preset=plan, **k))
    monkeypatch.setattr(hmc_runs, "RECORDS", tmp_path / "records")
    words = ["hmc_runs", "mnist", "--width", "8", "--preset", "gpu-minutes", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*words, "--folder", str(tmp_path / "run")])
    hmc_runs.main()
    (file,) = (tmp_path / "records").iterdir()
    assert file.name == "mnist-gpu-minutes.json"
    record = json.loads(file.read_text())
    assert "--device cpu" in record["command"]
    assert record["diagnosis"]["verdicts"].keys() == {"mnist-gpu-minutes"}
    said = hmc_runs.verdict(record)
    assert said in capsys.readouterr().out
    assert "class probabilities: R-hat of 50, 90 and 99 % below" in said
    monkeypatch.setattr(benchmark, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(benchmark, "RUNS", {"mnist-gpu-minutes": ("small", 0.0)})
    (entry,) = benchmark.accuracies()
    assert said in entry["detail"]
    del record["diagnosis"]  # as in records of before
    assert hmc_runs.verdict(record) == ""


def test_a_processor_has_a_name():
    assert len(processor()) > 5


def test_data_are_moved():
    split = Split(torch.rand(3, 2), torch.tensor([0, 1, 0]))
    moved = hmc_runs.on("cpu", Dataset("d", split, split, ("a", "b"), "0"))
    assert Ensemble.from_networks(fc2((2,), 2, width=4)).logits(moved.test.images).shape == (1, 3, 2)
