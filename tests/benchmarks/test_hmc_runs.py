"""The records of the long HMC runs: their names, what they say of mixing, and what the table makes of it."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.measure import processor

from benchmarks import half_moons_grid, hmc_runs, rivals
from benchmarks import hmc as benchmark
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


def test_a_chain_that_had_not_settled_is_told_first():
    first = {e["name"]: e["detail"].split(";")[0] for e in (*benchmark.accuracies(), *benchmark.half_moons_chains())}
    assert first["fashion-mnist: fc2 512 by full-batch HMC, accuracy"] == (
        "2 of 2 chains had not settled before their first draw"
    )
    assert first["mnist: fc2 512 by full-batch HMC, accuracy"].startswith("72 draws of 2 chains")
    assert sum("the chain had not settled before its first draw" in told for told in first.values()) == 1


def test_half_moons_records_are_called_by_the_trajectories_that_were_run():
    record = json.loads((hmc_runs.RECORDS / "half-moons.json").read_text(encoding="utf-8"))
    assert record
    for key, found in record.items():
        assert key.split()[2] == str(found["trajectories"])
        assert found["asked"] <= found["trajectories"]


def test_half_moons_chains_that_are_there_are_not_run_again(tmp_path, monkeypatch):
    asked, figures = [], {"asked": 24, "trajectories": 42}

    def cell(width, points, trajectories):
        asked.append((width, points, trajectories))
        return figures | {"asked": trajectories}

    monkeypatch.setattr(half_moons_grid, "RECORDS", tmp_path)
    monkeypatch.setattr(half_moons_grid, "Parallel", lambda *_, **__: lambda jobs: [f(*a) for f, a, _ in jobs])
    monkeypatch.setattr(half_moons_grid, "cell", cell)
    monkeypatch.setattr(sys, "argv", ["grid", "--trajectories", "24", "--widths", "32", "--points", "5000", "10000"])
    half_moons_grid.main()
    half_moons_grid.main()
    assert asked == [(32, 10000, 24), (32, 5000, 24)]
    assert list(json.loads((tmp_path / "half-moons.json").read_text())) == ["32 10000 42", "32 5000 42"]


def test_products_of_a_stack_are_those_of_its_gradient():
    blocks = [slice(0, 256), slice(256, 300)]
    work, operations = benchmark.stacked_products(blocks, 300)
    with FlopCounterMode(display=False) as counted:
        work()
    assert counted.get_total_flops() == operations


def test_a_difference_below_two_errors_is_not_resolved():
    one = {"nll": 0.5, "nll_mcse": 0.0}
    assert rivals.difference({"nll": 0.52, "nll_mcse": 0.01}, one) == "minus sgd 0.0200 ± 0.0100"
    assert rivals.difference({"nll": 0.519, "nll_mcse": 0.01}, one) == "minus sgd 0.0190 ± 0.0100: *not resolved*"
    assert rivals.difference({"nll": 0.6}, one) == "minus sgd 0.1000: *not resolved*, error unknown"
    found = {e["row"]: e["detail"] for e in json.loads((rivals.RESULTS / "rivals.json").read_text(encoding="utf-8"))}
    assert [row for row, told in found.items() if "*not resolved*" in told] == ["sghmc", "hmc"]


def test_pyro_is_timed_as_it_is_installed():
    knob = torch.backends.mkldnn.matmul
    before, seen = knob.fp32_precision, []
    knob.fp32_precision = "bf16"  # as `machine.tune` chooses on some chips
    try:
        assert benchmark.as_installed(lambda: seen.append(knob.fp32_precision) or "done")() == "done"
        assert (seen, knob.fp32_precision) == (["none"], "bf16")
    finally:
        knob.fp32_precision = before
