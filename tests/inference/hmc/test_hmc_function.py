"""hmc: the public function on small networks: accuracy, seeds, layout of draws, diagnostics, mass, errors."""

import itertools
import json
import math
import re
import statistics

import pytest
import torch
from hmc_problems import Residual, accuracy, blobs
from torch import nn

from holdfast.data import Split
from holdfast.inference import Isotropic, Path, Training
from holdfast.inference.fingerprint import data_of
from holdfast.inference.hmc import Plan, hmc
from holdfast.inference.hmc.chains import Run
from holdfast.inference.hmc.results import diagnostics_of, e_bfmi
from holdfast.inference.hmc.warm_up import WarmUp
from holdfast.networks import conv, fc2, normalised

QUICK = Plan(chains=2, draws=4, warm_up=6, burn_in=(0.3,), start=Training(epochs=3, batch_size=32))


def network(dtype=torch.float32):
    return normalised(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)), 0.5, 0.3).to(dtype)


def test_smoke_preset_learns():
    data = blobs(300)
    ensemble = hmc(normalised(fc2((4,), 3, width=16), 0.5, 0.3), data, seed=0, preset="smoke")
    assert len(ensemble) == 20
    assert accuracy(ensemble, blobs(200, seed=7)) > 0.9
    summary = ensemble.diagnostics.summary
    assert 0.3 < summary["acceptance"] <= 1
    assert summary["divergences"] == 0
    assert 2 < summary["distinct_draws"] <= 20


def test_diagnostics_are_complete_and_json():
    found = hmc(network(), blobs(60), seed=0, preset=QUICK, temperature=0.5).diagnostics
    json.loads(json.dumps({"a": found.settings, "b": found.summary, "c": found.history}, allow_nan=False))
    assert found.settings["chains"] == 2
    assert found.settings["temperature"] == 0.5
    assert found.settings["data"] == data_of(blobs(60))
    wanted = {"acceptance", "rms_energy_error", "divergences", "e_bfmi", "step_size", "trajectory", "leapfrog_steps"}
    assert wanted | {"gradients", "distinct_draws", "prior_logit_sd"} <= found.summary.keys()
    assert all(len(found.history[name]) == 8 for name in ("accepted", "energy_error", "energy"))
    assert set(found.history["accepted"]) <= {0, 1}
    assert sum(found.history["accepted"]) / 8 == found.summary["acceptance"]
    assert "converged" not in json.dumps([found.summary, list(found.warnings)])


def told(accepted=(1, 1, 0, 1), energy=(5.0, 3.0, 6.0, 4.0) * 2, spread=4.0, others=()):
    """The warnings of a run of one chain with these records, and of a second one that accepted others."""
    plan = Plan(chains=1, draws=len(accepted))
    rest = {"error": [0.1], "nll": [1.0], "square": [1.0], "steps": 9, "step": 0.1}
    records = [{"accepted": [bool(a)], "energy": [e], **rest} for a, e in zip(accepted, energy)]
    outcome = WarmUp(step=0.1, needed=9, done=True, settled=True)
    draws = [torch.zeros(1, 3) for _ in accepted]
    runs = [Run(draws, records, records, outcome)]
    if others:
        runs.append(Run(draws, [r | {"accepted": [bool(a)]} for r, a in zip(records, others)], records, outcome))
    return diagnostics_of(runs, plan, {}, spread).warnings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"energy": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], "accepted": [1] * 8},
            r"Chain 0 has an E-BFMI of 0.17, b",
        ),
        (
            {"accepted": [1, 0, 0, 0]},
            r"25% of the trajectories were accepted, fewer than 30%: .*; take a smaller error",
        ),
        ({"accepted": [1, 0] * 4, "others": [0, 0, 1, 0] * 2}, r"^Chain 1: 25% of its trajectories were accepted"),
        ({"spread": 0.5}, r"a logit has a standard deviation of 0.5, expected 1 to 20: standardise the images"),
        ({"spread": 3000.0}, r"a logit has a standard deviation of 3e\+03, expected 1 to 20"),
    ],
)
def test_figures_that_speak_against_a_run_are_told(change, words):
    assert told() == ()
    (warning,) = told(**change)
    assert re.search(words, warning)


@pytest.mark.parametrize("draws", [3, 4, 50])
def test_e_bfmi_is_the_mean_squared_change_over_the_variance(draws):
    energies = (1e4 + torch.randn(draws, generator=torch.Generator().manual_seed(draws)).double()).tolist()
    changes = [b - a for a, b in itertools.pairwise(energies)]
    expected = statistics.fmean(c * c for c in changes) / statistics.variance(energies)
    assert e_bfmi(energies) == pytest.approx(expected, rel=1e-12)
    assert e_bfmi(energies[:2]) is None
    assert e_bfmi([0.1] * draws) is None


def test_the_usual_prior_of_other_published_networks_is_told():
    plan = Plan(chains=1, draws=1, warm_up=1, burn_in=(), start=Training(epochs=1))
    model, data = normalised(fc2((64,), 3, width=32), 0.5, 0.3), blobs(20, (64,))
    found = {prior: hmc(model, data, seed=0, preset=plan, prior=prior).diagnostics for prior in ("unit", "fan_in")}
    assert any("expected 1 to 20" in warning for warning in found["unit"].warnings)
    assert not any("expected 1 to 20" in warning for warning in found["fan_in"].warnings)


def test_draws_are_chain_by_chain_and_repeats_are_kept():
    ensemble = hmc(network(), blobs(60), seed=2, preset=Plan(**{**QUICK.__dict__, "draws": 12, "error": 3.0}))
    accepted = ensemble.diagnostics.history["accepted"]
    weights = next(v for k, v in ensemble.weights.items() if k.endswith("weight"))
    assert 0 < sum(accepted) < 24
    for i in range(24):
        if i % 12:
            assert torch.equal(weights[i], weights[i - 1]) == (accepted[i] == 0)
    assert not torch.equal(weights[11], weights[12])
    distinct = len({w.numpy().tobytes() for w in weights})
    assert ensemble.diagnostics.summary["distinct_draws"] == distinct


def test_same_seed_same_bytes():
    model, random = network(), torch.get_rng_state()
    first, again = (hmc(model, blobs(60), seed=1, preset=QUICK) for _ in range(2))
    other = hmc(model, blobs(60), seed=2, preset=QUICK)
    for name, value in first.weights.items():
        assert torch.equal(value, again.weights[name])
    assert any(not torch.equal(v, other.weights[k]) for k, v in first.weights.items())
    assert torch.equal(torch.get_rng_state(), random)


def test_same_bytes_at_any_number_of_threads():
    data, plan = blobs(60, (784,)), Plan(chains=1, draws=1, warm_up=1, burn_in=(0.1,), start=Training(epochs=1))
    model = normalised(fc2((784,), 3, width=128, seed=0), 0.5, 0.3)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(hmc(model, data, seed=0, preset=plan, precision="float32").weights)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(v, found[1][k]) for k, v in found[0].items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_images_of_few_digits_are_refused(dtype):
    data = blobs(20, dtype=dtype)
    with pytest.raises(
        TypeError, match=r"inference.hmc: images must be float32 or float64, got torch.b?float16: .*pass"
    ):
        hmc(network(dtype), data, seed=0, preset=QUICK)


def test_the_posterior_of_a_linear_network_is_the_exact_one():
    # nn.Linear(1, 2): the difference of its rows on constant images, by quadrature; through fits, warm-up and chains
    data = Split(torch.ones(12, 1, dtype=torch.float64), (torch.arange(12) < 9).long())
    plan = Plan(chains=16, draws=60, warm_up=15, burn_in=(0.3,), trajectory=0.6, start=Training(epochs=2))
    model = nn.Linear(1, 2, bias=False).double()
    ensemble = hmc(model, data, seed=0, preset=plan, prior=Isotropic(0.5), temperature=0.7)
    draws = (ensemble.weights["weight"][:, 1, 0] - ensemble.weights["weight"][:, 0, 0]).view(16, 60)
    grid = torch.linspace(-8, 8, 2001, dtype=torch.float64)
    likelihood = 9 * nn.functional.logsigmoid(grid) + 3 * nn.functional.logsigmoid(-grid)
    mass = ((likelihood - grid.square() / 2) / 0.7).softmax(0)  # prior variance 2 * 0.5
    mean = float(mass @ grid)
    variance = float(mass @ grid.square()) - mean**2
    error = lambda values: 4.5 * float(values.mean(1).std()) / math.sqrt(16)
    assert abs(float(draws.mean()) - mean) < error(draws)
    squares = (draws - mean).square()
    assert abs(float(squares.mean()) - variance) < error(squares)


def test_mass_leaves_the_posterior_alone():
    data = blobs(60, dtype=torch.float64)
    plan = Plan(chains=8, draws=60, warm_up=15, burn_in=(0.3,), start=Training(epochs=3))
    probe = blobs(20, seed=9, dtype=torch.float64).images
    means, errors = [], []
    for mass in ("prior", "kron_in"):
        ensemble = hmc(network(torch.float64), data, seed=0, preset=plan, mass=mass)
        found = ensemble.logits(probe).softmax(-1)[..., 0].view(8, 60, 20).mean(1)
        means.append(found.mean(0))
        errors.append(found.std(0) / math.sqrt(8))
    gap = (means[0] - means[1]).abs() / (errors[0].square() + errors[1].square()).sqrt()
    assert float(gap.max()) < 5.5
    assert float(gap.square().mean()) < 4


def test_approach_starts_the_chains_at_the_posteriors_mass(tmp_path):
    near = Path(epochs=5, batch_size=20, step=1e-3, cycles=1, exploration=0.0)
    plan = Plan(**{**QUICK.__dict__, "approach": near})
    ensemble = hmc(network(), blobs(100), seed=0, preset=plan, folder=tmp_path)
    assert (tmp_path / "approach.safetensors").exists()
    assert accuracy(ensemble, blobs(100, seed=7)) > 0.9
    again = hmc(network(), blobs(100), seed=0, preset=plan, folder=tmp_path)
    assert all(torch.equal(v, again.weights[k]) for k, v in ensemble.weights.items())


def test_convolutions():
    data = blobs(12, (1, 16, 16))
    ensemble = hmc(conv((1, 16, 16), 3, width=2), data, seed=0, preset=Plan(chains=2, draws=2, warm_up=3))
    assert ensemble.logits(data.images).shape == (4, 12, 3)


def test_global_settings_and_the_network_are_left_alone():
    model = network()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    hmc(model, blobs(40), seed=0, preset=QUICK)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"temperature": 0.0}, r"inference.hmc: temperature must lie in \(0, "),
        ({"preset": "quick"}, "inference.hmc: preset must be 'smoke'"),
        ({"temperature": math.inf}, "inference.hmc: temperature must be finite, got inf; 1 is Bayes' rule"),
        (
            {"prior": "studentt"},
            r"inference.hmc: prior must be 'fan_in', 'unit', 'student_t', 'emp_cov', FanIn\(...\), Isotropic\(...\), "
            r"StudentT\(...\) or EmpCov\(...\), got 'studentt'",
        ),
        ({"precision": "int8"}, "inference.hmc: precision must be"),
        (
            {"precision": "tf32"},
            "^inference.hmc: precision='tf32' is for products on an NVIDIA GPU, the images are on cpu; use 'auto' or",
        ),
        ({"network": nn.LazyLinear(3)}, "^inference.hmc: network has a lazy layer, whose weight has no shape yet; ca"),
        ({"draws": 0}, "draws must be a whole number"),
        ({"memory": 0}, r"inference.hmc: memory must lie in \[1, "),
        ({"network": Residual(), "data": blobs(8, (1, 6, 6))}, "layer norm is batch normalisation"),
        (
            {"network": conv((1, 16, 16), 3, width=2), "data": blobs(8, (1, 16, 16)), "mass": "kron_in"},
            "mass='kron_in' needs a plain network of linear layers; use mass='prior'",
        ),
    ],
)
def test_bad_calls(change, match):
    arguments = {"network": network(), "data": blobs(20), "seed": 0, "preset": QUICK, **change}
    with pytest.raises(ValueError, match=match):
        hmc(arguments.pop("network"), arguments.pop("data"), **arguments)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hmc(network(), blobs(20), seed=0, preset=["smoke"]), r"preset must be 'smoke', .*got \['smoke'\]"),
        (lambda: hmc(network(), blobs(20), seed=0, preset={"draws": 2}), r"preset must be .*Plan\(...\), got {'draws'"),
        (lambda: hmc(network(), blobs(20), seed=0, prior=3), "inference.hmc: prior must be 'fan_in', .*got 3"),
        (
            lambda: Plan(burn_in=0.3),
            r"^hmc.Plan: burn_in must be a tuple of lengths, got 0.3; for one trajectory it is \(0.3,\), for none \(\)",
        ),
        (
            lambda: hmc(network(), blobs(20), seed=0, folder=5),
            "^inference.hmc: folder must be a path, got 5; pass a",
        ),
        (lambda: hmc(network(), blobs(20), seed="0"), "^inference.hmc: seed must be a whole number, got '0'"),
        (lambda: Plan(start=None), r"hmc.Plan: start must be a Training\(...\), got None"),
        (lambda: Plan(approach=3), r"hmc.Plan: approach must be a Path\(...\), got 3"),
    ],
)
def test_arguments_of_another_kind(make, words):
    with pytest.raises(TypeError, match=words):
        make()


def test_more_draws_of_the_same_chains(tmp_path):
    short = hmc(network_of_seed(), blobs(60), seed=0, preset=QUICK, folder=tmp_path, draws=2)
    files = sorted(tmp_path.rglob("draw-*"))
    stamps = [f.stat().st_mtime_ns for f in files]
    long = hmc(network_of_seed(), blobs(60), seed=0, preset=QUICK, folder=tmp_path, draws=5)
    assert stamps == [f.stat().st_mtime_ns for f in files]  # not drawn again
    for name, value in short.weights.items():
        assert torch.equal(value[:2], long.weights[name][:2])
        assert torch.equal(value[2:], long.weights[name][5:7])


def test_a_hundred_stacked_chains_have_a_folder(tmp_path):
    plan = Plan(chains=100, draws=1, warm_up=1, burn_in=(), start=Training(epochs=1))
    assert len(hmc(network_of_seed(), blobs(12), seed=0, preset=plan, folder=tmp_path)) == 100
    assert [f.parent.name for f in tmp_path.rglob("draw-*")] == ["chains-00-to-99"]


def test_named_priors_run():
    data = blobs(60)
    for prior in ("student_t", "emp_cov", "unit"):
        ensemble = hmc(network_of_seed(), data, seed=0, preset=QUICK, prior=prior)
        assert torch.isfinite(ensemble.logits(data.images)).all()
        assert (
            ensemble.diagnostics.settings["prior"]["kind"]
            == {"student_t": "StudentT", "emp_cov": "EmpCov", "unit": "Isotropic"}[prior]
        )


def network_of_seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return network()
