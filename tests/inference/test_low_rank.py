"""low_rank: divergence and draws in closed form, a posterior with correlations recovered exactly."""

import pytest
import torch
from problems import Residual, accuracy, blobs
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from holdfast.data import Split
from holdfast.inference import Training, low_rank
from holdfast.inference.elbo import Elbo, ratios_and_divergence
from holdfast.inference.low_rank import divergence_of_directions, optimise, sample
from holdfast.inference.mean_field import Start
from holdfast.networks import fc2

SCALE = {"a": 0.3, "b": 2.0}


def posterior():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    return {"a": draw(2, 3), "b": draw(2)}, {"a": draw(2, 3), "b": draw(2)}, {"a": draw(3, 2, 3), "b": draw(3, 2)}


def moments(mean, log_ratio, directions):
    s = torch.cat([torch.full((mean[k].numel(),), SCALE[k], dtype=torch.float64) for k in SCALE])
    u = torch.cat([directions[k].flatten(1) for k in SCALE], 1)
    r = torch.cat([log_ratio[k].flatten() for k in SCALE]).exp()
    return torch.cat([mean[k].flatten() for k in SCALE]), s[:, None] * (torch.diag(r) + u.T @ u) * s, s


def test_divergence_is_that_of_torch_distributions():
    mean, log_ratio, directions = posterior()
    centre, covariance, s = moments(mean, log_ratio, directions)
    expected = kl_divergence(MultivariateNormal(centre, covariance), MultivariateNormal(0 * centre, torch.diag(s**2)))
    ratio, diagonal = ratios_and_divergence(mean, log_ratio, SCALE)
    assert float(diagonal + divergence_of_directions(ratio, directions)) == pytest.approx(float(expected), rel=1e-12)


def test_draws_have_mean_and_covariance():
    mean, log_ratio, directions = posterior()
    centre, covariance, _ = moments(mean, log_ratio, directions)
    drawn = sample(mean, log_ratio, directions, SCALE, 100_000, seed=0)
    flat = torch.cat([drawn[k].flatten(1) for k in SCALE], 1)
    scale = covariance.diagonal().sqrt()
    assert ((flat.mean(0) - centre).abs() < 5 * scale / 100_000**0.5).all()
    assert ((torch.cov(flat.T) - covariance).abs() < 0.025 * scale * scale[:, None]).all()


def test_linear_regression_recovers_the_correlated_posterior():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.9], [0.0, 0.4]], dtype=torch.float64)
    x = torch.randn(40, 2, generator=generator, dtype=torch.float64) @ mixing
    y = x @ torch.tensor([0.7, -0.4], dtype=torch.float64) + torch.randn(40, generator=generator, dtype=torch.float64)
    gaussian = lambda outputs, targets: Normal(outputs[:, 0], 1.0).log_prob(targets)
    mean, scale = {"weight": torch.zeros(1, 2, dtype=torch.float64)}, {"weight": 0.8}
    training, start = Training(700, 40, 0.05), Start(ratio=0.3, deviation_rate=1.0)
    log_ratio, directions, curves = optimise(
        nn.Linear(2, 1, bias=False), mean, {}, scale, Split(x, y), Elbo(40), 1, training, start, 0, gaussian
    )
    covariance = torch.linalg.inv(x.T @ x + torch.eye(2) / 0.64)
    exact_mean = covariance @ x.T @ y
    u = directions["weight"].view(1, 2)
    found = 0.64 * (torch.diag(log_ratio["weight"].exp().flatten()) + u.T @ u)
    correlation = lambda c: float(c[0, 1] / (c[0, 0] * c[1, 1]) ** 0.5)
    assert correlation(covariance) < -0.7  # what mean field cannot have
    assert correlation(found) == pytest.approx(correlation(covariance), abs=0.12)
    assert torch.allclose(found.diagonal(), covariance.diagonal(), rtol=0.3)
    assert ((mean["weight"][0] - exact_mean).abs() < 0.3 * covariance.diagonal().sqrt()).all()
    evidence = MultivariateNormal(torch.zeros(40, dtype=torch.float64), torch.eye(40) + 0.64 * x @ x.T).log_prob(y)
    assert sum(curves["elbo"][-50:]) / 50 * 40 == pytest.approx(float(evidence), abs=0.4)


def test_learns_and_reports():
    training = Training(epochs=60, batch_size=40, learning_rate=1e-2)
    ensemble = low_rank(fc2((4,), 3, width=16), blobs(), seed=0, draws=20, rank=3, training=training)
    assert accuracy(ensemble, blobs(seed=1)) > 0.8
    summary = ensemble.diagnostics.summary
    assert all(0 <= share < 1 for share in summary["share_of_variance_in_directions"].values())
    assert summary["elbo_per_image"] == pytest.approx(
        summary["log_likelihood_per_image"] - summary["divergence_per_image"]
    )
    data = blobs(shape=(1, 6, 6))
    residual = low_rank(Residual(), data, seed=0, draws=3, rank=2, training=Training(epochs=2))
    assert torch.equal(residual.weights["norm.weight"][0], residual.weights["norm.weight"][1])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rank": 0}, "low_rank: rank must be a whole number of at least 1, got 0"),
        ({"draws": 0}, "low_rank: draws must be"),
        ({"temperature": -1.0}, "low_rank: temperature must lie"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        low_rank(fc2((4,), 3), blobs(), seed=0, **settings)
