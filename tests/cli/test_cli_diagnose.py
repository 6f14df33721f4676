"""`holdfast diagnose`: tables, files, and what a user can get wrong."""

import json

import pytest
from typer.testing import CliRunner

from holdfast.cli import app
from holdfast.diagnostics import Diagnosis
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.networks import fc2

FEW = ["--data", "fashion-mini", "--points", "10", "--images", "20"]


def run(*arguments):
    return CliRunner(env={"COLUMNS": "100"}).invoke(app, ["diagnose", *map(str, arguments)])


@pytest.fixture(autouse=True)
def untuned(monkeypatch):
    """The command tunes its process; the tests share theirs with others."""
    monkeypatch.setattr("holdfast.machine.tune", dict)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two banks that say their network, a folder of two chains, and one bank that says nothing."""
    path = tmp_path_factory.mktemp("banks")
    (path / "chains").mkdir()
    for seed in range(3):
        networks = [fc2((1, 28, 28), 10, width=8, seed=10 * seed + s) for s in range(8)]
        ensemble = Ensemble.from_networks(networks)
        chains = 2 if seed == 0 else 1
        summary = {"acceptance": 0.8, "rms_energy_error": 0.6, "divergences": 0, "step_size": [0.01, 0.014]}
        summary |= {"trajectory": 1.57, "leapfrog_steps": 131.0, "gradients": 5000}
        said = Diagnostics("hmc", {"chains": chains, "seed": seed}, summary, warnings=["Chain 1 drifts."])
        ensemble = Ensemble(ensemble.network, ensemble.weights, said)
        ensemble.save(path / "hmc.safetensors" if seed == 0 else path / "chains" / f"chain-{seed:02}.safetensors")
    network = fc2((1, 28, 28), 10, width=8)
    del network.recipe
    Ensemble.from_networks(network).save(path / "plain.safetensors", data={"name": "mnist", "checksum": "other"})
    return path


def test_tables_and_files(folder, tmp_path):
    made = run(
        folder / "hmc.safetensors", folder / "chains", *FEW, "--reference", "hmc", "--json", tmp_path / "found.json",
        "--figures", tmp_path / "figures",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    text = " ".join(made.output.split())
    assert "hmc hmc ensemble of 2 local chains 8 8 2" in text
    assert "chains hmc ensemble of 2 local chains 16 16 2" in text
    assert "hmc 0.80 0.60 0 – 0.0120 1.57 131 5,000" in text
    assert "note hmc: Chain 1 drifts." in text
    assert "log p(true class)" in text
    assert "chains hmc" in text
    assert "not resolved" in text
    assert "converged" not in text
    found = Diagnosis.from_json(json.loads((tmp_path / "found.json").read_text()))
    assert list(found.verdicts) == ["hmc", "chains"]
    assert found.settings["images"] == 20
    assert (tmp_path / "figures" / "mixing_hmc.png").read_bytes().startswith(b"\x89PNG")
    assert "R-hat" in (tmp_path / "figures" / "mixing_chains.svg").read_text()


def test_export_for_arviz(folder, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    made = run(folder / "hmc.safetensors", *FEW, "--export", tmp_path / "draws")
    assert made.exit_code == 0, made.output
    with xarray.open_datatree(tmp_path / "draws" / "hmc.nc", engine="h5netcdf") as tree:
        assert tree["log_likelihood/label"].shape == (2, 4, 10)


def test_a_bank_that_does_not_say_its_network(folder):
    made = run(folder / "plain.safetensors", *FEW)
    assert isinstance(made.exception, ValueError)
    assert "does not say which network it belongs to; pass --network" in str(made.exception)
    with pytest.warns(UserWarning, match="was inferred from mnist, not from fashion-mini"):
        made = run(folder / "plain.safetensors", *FEW, "--network", "fc2", "--width", 8)
    assert made.exit_code == 0, made.output
    assert "one network" in made.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hmc.safetensors", *FEW, "--network", "fc2", "--reference", "x"], "there is no file x"),
        (["hmc.safetensors", "hmc.safetensors", *FEW], "the same bank is given twice"),
        (["none.safetensors", *FEW], "there is no file"),
        (["hmc.safetensors", *FEW, "--k", "200"], r"k must lie in"),
        (["hmc.safetensors", *FEW, "--norm", "l7"], "norm must be"),
    ],
)
def test_errors(folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    made = run(*arguments)
    assert isinstance(made.exception, ValueError | OSError)
    assert words in str(made.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "none/found.json"], "diagnose: there is no folder none for --json none/found.json; make it first."),
        (["--json", "chains"], "diagnose: --json chains is a folder; name a file in it, such as chains/a.json."),
        (["--json", "/proc/found.json"], "--json /proc/found.json cannot be written: no file can be made in /proc ("),
        (["--figures", "plain.safetensors/figures"], "--figures plain.safetensors/figures cannot be written: no file"),
        (["--export", "/proc/draws"], "--export /proc/draws cannot be written: no file can be made in /proc ("),
    ],
)
def test_what_cannot_be_written_is_told_before_any_work(folder, monkeypatch, arguments, words):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("holdfast.diagnostics.diagnose", None)
    if "--export" in arguments:
        pytest.importorskip("xarray")
    before = sorted(folder.rglob("*"))
    made = run("hmc.safetensors", *FEW, *arguments)
    assert isinstance(made.exception, OSError)
    assert words in str(made.exception)
    assert sorted(folder.rglob("*")) == before


def test_a_bank_with_a_draw_that_is_not_finite_is_named(folder, tmp_path):
    ensemble = Ensemble.load(folder / "hmc.safetensors", fc2((1, 28, 28), 10, width=8))
    ensemble.weights["linear2.weight"][3, 0, 0] = float("nan")
    made = run(folder / "hmc.safetensors", ensemble.save(tmp_path / "broken.safetensors"), *FEW)
    assert isinstance(made.exception, ValueError)
    assert "ensembles['broken'] has NaN or infinite weights: in linear2.weight, 1 of its 8 draws" in str(made.exception)
    assert "the first of them draw 3" in str(made.exception)


def test_help_has_examples():
    assert "holdfast diagnose hmc.safetensors --data mnist" in " ".join(run("--help").output.split())
