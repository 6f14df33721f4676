"""sghmc and sgld: a posterior with a known answer, the schedule of steps and draws, chains, errors."""

import math

import pytest
import torch
from problems import Residual, accuracy, blobs
from torch import nn

from holdfast.data import Split
from holdfast.inference import FanIn, Path, Training, sghmc, sgld
from holdfast.inference.sghmc import walk
from holdfast.networks import fc2

SHORT = {"path": Path(epochs=4, batch_size=40, cycles=2), "start": Training(epochs=3)}


def regression():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.6], [0.0, 0.7]], dtype=torch.float64)
    x = torch.randn(60, 2, generator=generator, dtype=torch.float64) @ mixing
    y = x @ torch.tensor([0.7, -0.4], dtype=torch.float64) + 0.5 * torch.randn(
        60, generator=generator, dtype=torch.float64
    )
    return x, y


@pytest.mark.parametrize(("friction", "step"), [(0.1, 1e-4), (1.0, 4e-4)], ids=["sghmc", "sgld"])
@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_linear_regression_posterior_is_the_exact_one(friction, step, temperature):
    x, y = regression()
    scale, chains, epochs = {"w": 0.8}, 100, 1500
    weights = {"w": torch.zeros(chains, 2, dtype=torch.float64, requires_grad=True)}

    def energy(images, labels):  # the whole data set at once: no noise from batches
        residual = labels - (images @ weights["w"][:, :, None])[..., 0]
        prior = 0.5 * (weights["w"] / 0.8).square().sum(1)
        return 0.5 * (residual / 0.5).square().sum(1) + prior

    path = Path(epochs, 60, step, "constant", friction=friction)
    kept = list(range(500, epochs, 10))
    found, _ = walk(
        "test", weights, scale, energy, Split(x, y), path, temperature, kept, list(range(chains)), 0, weights
    )
    draws = torch.stack(found["w"]).flatten(0, 1)
    precision = (x.T @ x / 0.25 + torch.eye(2) / 0.64) / temperature
    covariance, mean = torch.linalg.inv(precision), torch.linalg.solve(precision, x.T @ y / 0.25 / temperature)
    assert ((draws.mean(0) - mean).abs() < 0.06 * covariance.diagonal().sqrt()).all()
    assert torch.allclose(torch.cov(draws.T), covariance, rtol=0.08, atol=0.03 * float(covariance.abs().max()))


def test_cyclical_chains_forget_the_quiet_start_of_each_cycle():
    # without noise every chain falls to the maximum; the draws at the end of the cycle must have spread out again
    x, y = regression()
    scale, chains = {"w": 0.8}, 200
    weights = {"w": torch.zeros(chains, 2, dtype=torch.float64, requires_grad=True)}

    def energy(images, labels):
        residual = labels - (images @ weights["w"][:, :, None])[..., 0]
        return 0.5 * (residual / 0.5).square().sum(1) + 0.5 * (weights["w"] / 0.8).square().sum(1)

    path = Path(1600, 60, 4e-4, cycles=2, exploration=0.2, friction=0.1)
    ends = [i for i in range(1600) if (i / 800) % 1 > 0.7]
    quiet = [int(0.19 * 800), 800 + int(0.19 * 800)]
    found, _ = walk(
        "test", weights, scale, energy, Split(x, y), path, 1.0, sorted(ends + quiet), list(range(chains)), 0, weights
    )
    draws = torch.stack(found["w"])  # [steps, chains, 2]
    steps = torch.tensor(sorted(ends + quiet))
    fallen, kept = draws[torch.isin(steps, torch.tensor(quiet))], draws[torch.isin(steps, torch.tensor(ends))]
    precision = x.T @ x / 0.25 + torch.eye(2) / 0.64
    covariance, mean = torch.linalg.inv(precision), torch.linalg.solve(precision, x.T @ y / 0.25)
    scale = covariance.diagonal().sqrt()
    assert ((fallen.flatten(0, 1) - mean).abs() < 0.3 * scale).all()
    kept = kept.flatten(0, 1)
    assert ((kept.mean(0) - mean).abs() < 0.1 * scale).all()
    assert torch.allclose(torch.cov(kept.T), covariance, rtol=0.1, atol=0.05 * float(covariance.abs().max()))


def test_batches_estimate_the_energy_of_all_images():
    # steps of no length: the mean energy of an epoch must not depend on the batch size
    reported = []
    for size in (10, 60, 240):
        path = Path(epochs=2, batch_size=size, step=1e-30, cycles=1, exploration=0.0)
        ensemble = sghmc(nn.Linear(4, 3), blobs(), seed=0, draws=1, path=path, start=Training(epochs=1))
        reported.append(ensemble.diagnostics.summary["energy_per_image"])
        module, split = ensemble.module(), blobs()
        with torch.no_grad():
            fit = 240 * float(nn.functional.cross_entropy(module(split.images), split.labels))
        scale = FanIn().deviations(module)
        prior = sum(0.5 * float((p.detach() / scale[k]).square().sum()) for k, p in module.named_parameters())
        assert reported[-1] == pytest.approx((fit + prior) / 240, rel=1e-4)
    assert reported == pytest.approx([reported[0]] * 3, rel=1e-4)


def test_schedule_and_kept_steps():
    path = Path(epochs=10, step=1.0, cycles=2, exploration=0.6)
    assert [path.step_at(t) for t in (0, 0.25, 0.5, 0.75)] == pytest.approx([1, 0.5, 1, 0.5])
    assert [path.noisy(t) for t in (0, 0.29, 0.31, 0.5, 0.81)] == [False, False, True, False, True]
    kept = path.kept(1000, 8)
    assert len(set(kept)) == 8
    assert sum(300 <= k < 500 for k in kept) == sum(800 <= k < 1000 for k in kept) == 4
    assert all(Path(schedule="constant").noisy(t) for t in (0, 0.5))
    assert Path(schedule="constant", step=2.0).step_at(0.9) == 2


@pytest.mark.parametrize("method", [sghmc, sgld])
def test_chains_and_draws_are_in_order(method):
    ensemble = method(fc2((4,), 3, width=16), blobs(), seed=0, draws=6, chains=3, **SHORT)
    weights = ensemble.weights["linear1.weight"].flatten(1)
    distance = torch.cdist(weights, weights)
    within = torch.stack([distance[0, 1], distance[2, 3], distance[4, 5]])
    assert within.min() > 0
    assert within.max() < 0.5 * torch.stack([distance[0, 2], distance[0, 4], distance[2, 4]]).min()


@pytest.mark.parametrize("method", [sghmc, sgld])
def test_learns_and_keeps_normalisation_points(method):
    path, start = Path(20, 40, 1e-4, cycles=2), Training(40, 40, 1e-2)
    ensemble = method(fc2((4,), 3, width=16), blobs(), seed=0, draws=20, path=path, start=start)
    assert accuracy(ensemble, blobs(seed=1)) > 0.85
    assert ensemble.diagnostics.method == method.__name__
    assert ensemble.diagnostics.settings["friction"] == (1.0 if method is sgld else 0.1)
    residual = method(Residual(), blobs(shape=(1, 6, 6)), seed=0, draws=2, **SHORT)
    assert torch.isfinite(residual.logits(blobs(shape=(1, 6, 6)).images)).all()


def test_noise_has_the_size_of_the_formula():
    # no data to speak of and a flat energy: after one step from rest the speed is the noise alone
    weights = {"w": torch.zeros(1, 200_000, dtype=torch.float64, requires_grad=True)}
    energy = lambda images, labels: 0.0 * weights["w"].sum(1)
    data = Split(torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1))
    path = Path(1, 1, 0.02, "constant", friction=0.3)
    found, _ = walk("test", weights, {"w": 2.0}, energy, data, path, 0.5, [0], [0], 0, weights)
    assert float(found["w"][0].std()) == pytest.approx(2.0 * math.sqrt(2 * 0.3 * 0.02 * 0.5), rel=0.01)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"draws": 5, "chains": 2}, "5 draws cannot be shared evenly by 2 chains"),
        ({"draws": 500}, "500 draws of each chain need as many steps"),
        ({"temperature": 0.0}, "temperature must lie"),
        ({"prior": "flat", "draws": 2}, "prior must be"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        sghmc(fc2((4,), 3), blobs(), seed=0, **{**SHORT, **settings})


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"step": 0.0}, r"Path: step must lie in \(0, inf\]"),
        ({"friction": 1.5}, "Path: friction must lie"),
        ({"exploration": 1.0}, "exploration must be below 1"),
        ({"cycles": 0}, "Path: cycles must be a whole number"),
        ({"schedule": "cosine"}, "schedule must be 'cyclical' or 'constant'"),
    ],
)
def test_bad_paths(settings, match):
    with pytest.raises(ValueError, match=match):
        Path(**settings)
