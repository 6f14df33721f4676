"""mean_field: exact divergence, an objective that ignores the batch size, the known optimum, the real data."""

import math

import pytest
import torch
from problems import Residual, accuracy, blobs
from torch import nn

from holdfast import data
from holdfast.data import Split
from holdfast.inference import FanIn, Isotropic, Path, Training, fit_mean_field, low_rank, mean_field, sgd, sghmc
from holdfast.inference.elbo import Elbo, ratios_and_divergence
from holdfast.inference.mean_field import Start, optimise
from holdfast.inference.priors import log_density
from holdfast.networks import conv, fc2, resnet

SHORT = Training(epochs=6, batch_size=50, learning_rate=1e-2)


def test_divergence_in_closed_form_equals_monte_carlo():
    posterior = fit_mean_field(fc2((4,), 3, width=5), blobs(), seed=0, training=SHORT)
    draws = posterior.sample(20_000, seed=1)
    differences = []
    for i in range(0, 20_000, 40):
        weights = {k: v[i].double() for k, v in draws.weights.items()}
        q = sum(
            torch.distributions.Normal(posterior.mean[k].double(), posterior.deviation[k].double()).log_prob(w).sum()
            for k, w in weights.items()
        )
        differences.append(float(q - log_density(weights, posterior.prior)))
    estimate = torch.tensor(differences)
    error = float(estimate.std()) / math.sqrt(len(estimate))
    assert abs(float(estimate.mean()) - posterior.divergence()) < 4 * error
    assert posterior.divergence() > 20 * error
    assert posterior.divergence() / 240 == pytest.approx(
        posterior.diagnostics.summary["divergence_per_image"], rel=1e-4
    )


def test_divergence_and_its_gradient_equal_those_of_torch_distributions():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    mean, log_ratio, scale = {"a": draw(3, 4), "b": draw(5)}, {"a": draw(3, 4), "b": draw(5)}, {"a": 0.3, "b": 2.0}
    ratios, ours = ratios_and_divergence(mean, log_ratio, scale)
    coefficients = {k: torch.randn(v.shape, generator=generator, dtype=torch.float64) for k, v in ratios.items()}
    (ours + sum((ratios[k] * coefficients[k]).sum() for k in ratios)).backward()
    found = [t.grad.clone() for t in (*mean.values(), *log_ratio.values())]
    for t in (*mean.values(), *log_ratio.values()):
        t.grad = None
    theirs, extra = 0.0, 0.0
    for k in mean:
        q = torch.distributions.Normal(mean[k], scale[k] * (0.5 * log_ratio[k]).exp())
        p = torch.distributions.Normal(torch.zeros_like(mean[k]), torch.full_like(mean[k], scale[k]))
        theirs = theirs + torch.distributions.kl_divergence(q, p).sum()
        extra = extra + (log_ratio[k].exp() * coefficients[k]).sum()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    (theirs + extra).backward()
    for ours, t in zip(found, (*mean.values(), *log_ratio.values()), strict=True):
        assert torch.allclose(ours, t.grad, rtol=1e-10)


def test_elbo_does_not_know_the_batch_size():
    likelihoods = torch.randn(240, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    divergence, elbo = torch.tensor(7.0, dtype=torch.float64), Elbo(240, temperature=0.5)
    whole = elbo(likelihoods, divergence)
    assert float(whole) == pytest.approx(float(likelihoods.sum() - 3.5), rel=1e-12)
    for size in (1, 5, 40, 120):
        parts = torch.stack([elbo(part, divergence) for part in likelihoods.split(size)])
        assert float(parts.mean()) == pytest.approx(float(whole), rel=1e-12)


@pytest.mark.parametrize("size", [1, 7, 60, 240])
def test_the_fits_own_objective_does_not_know_the_batch_size(size):
    # steps of no length: the mean over an epoch must be the ELBO of the start, whatever the batches
    def reported(batch_size, epochs):
        training = Training(epochs, batch_size, 1e-30)
        fit = fit_mean_field(fc2((4,), 3, width=5), blobs(), seed=0, training=training)
        return torch.tensor(fit.diagnostics.history["elbo"], dtype=torch.float64)

    reference, found = reported(120, 80), reported(size, {1: 3, 7: 12}.get(size, 40))
    error = (reference.var() / len(reference) + found.var() / len(found)).sqrt()
    assert abs(found.mean() - reference.mean()) < 5 * error
    assert error < 0.06 * abs(reference.mean())


def linear_regression(estimator, temperature=1.0, batch_size=20):
    """Fit a linear regression with known noise; gives what was found and the exact mean-field optimum."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.6, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 0.5]], dtype=torch.float64)
    x = torch.randn(100, 3, generator=generator, dtype=torch.float64) @ mixing
    noise, scale = 0.5, {"weight": 0.8, "bias": 0.4}
    y = x @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.3
    y = y + noise * torch.randn(100, generator=generator, dtype=torch.float64)

    def gaussian(outputs, targets):
        return torch.distributions.Normal(outputs[:, 0], noise).log_prob(targets)

    mean = {"weight": torch.zeros(1, 3, dtype=torch.float64), "bias": torch.zeros(1, dtype=torch.float64)}
    training, start = Training(150, batch_size, 0.1), Start(ratio=0.2, deviation_rate=1.0)
    log_ratio, curves = optimise(
        nn.Linear(3, 1), mean, {}, scale, Split(x, y), Elbo(100, temperature), estimator, training, start, 0, gaussian
    )  # fmt: skip
    design = torch.cat([x, torch.ones(100, 1, dtype=torch.float64)], 1)
    prior = torch.tensor([0.8, 0.8, 0.8, 0.4], dtype=torch.float64)
    precision = design.T @ design / noise**2 / temperature + torch.diag(prior**-2)
    exact_mean = torch.linalg.solve(precision, design.T @ y / noise**2 / temperature)
    exact_deviation = precision.diagonal() ** -0.5
    found_mean = torch.cat([mean["weight"][0], mean["bias"]])
    found_deviation = torch.cat([(0.5 * log_ratio[k]).exp().flatten() * scale[k] for k in ("weight", "bias")])
    evidence = torch.distributions.MultivariateNormal(
        torch.zeros(100, dtype=torch.float64), noise**2 * torch.eye(100) + design @ torch.diag(prior**2) @ design.T
    ).log_prob(y)
    return found_mean, found_deviation, exact_mean, exact_deviation, precision, evidence, curves["elbo"][-1] * 100


@pytest.mark.parametrize(("estimator", "temperature"), [("auto", 1.0), ("flipout", 1.0), ("auto", 0.25)])
def test_bayesian_linear_regression_reaches_the_exact_optimum(estimator, temperature):
    mean, deviation, exact_mean, exact_deviation, precision, evidence, elbo = linear_regression(estimator, temperature)
    assert ((mean - exact_mean).abs() < 0.15 * exact_deviation).all()
    assert torch.allclose(deviation, exact_deviation, rtol=0.15)  # at the wrong weight of the data it is twice off
    if temperature == 1:  # what a diagonal posterior loses against the exact one is known too
        gap = 0.5 * (precision.diagonal().log().sum() - precision.logdet())
        assert elbo == pytest.approx(float(evidence - gap), abs=1.5)
        assert gap > 0.2


@pytest.mark.parametrize("norm", ["batch", "filter_response"])
def test_every_layer_of_a_residual_network_counts_in_the_divergence(norm):
    network = resnet((3, 8, 8), 3, depth=8, norm=norm)
    posterior = fit_mean_field(network, blobs(40, shape=(3, 8, 8)), seed=0, training=Training(1, 20))
    layers = {n: m for n, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert len(layers) == 8
    weights = {f"{n}.{k}" for n, m in layers.items() for k, _ in m.named_parameters()}
    assert set(posterior.prior) == set(posterior.diagnostics.summary["deviation_over_prior"]) == weights
    points = {k for k, _ in network.named_parameters()} - weights
    assert points <= set(posterior.fixed)  # scales and biases of the normalisation
    assert len(points) == 2 * 7
    normal = torch.distributions.Normal
    expected = sum(
        torch.distributions.kl_divergence(
            normal(posterior.mean[k].double(), posterior.deviation[k].double()),
            normal(torch.zeros(1, dtype=torch.float64), posterior.prior[k]),
        ).sum()
        for k in weights
    )
    assert posterior.divergence() == pytest.approx(float(expected), rel=1e-9)
    assert posterior.diagnostics.summary["divergence_per_image"] * 40 == pytest.approx(float(expected), rel=1e-4)


def test_draws_have_the_fitted_mean_and_deviation():
    posterior = fit_mean_field(Residual(), blobs(shape=(1, 6, 6)), seed=0, training=SHORT)
    ensemble = posterior.sample(3000, seed=5)
    for name, mean in posterior.mean.items():
        draws, deviation = ensemble.weights[name], posterior.deviation[name]
        assert ((draws.mean(0) - mean).abs() < 6 * deviation / 3000**0.5).all()
        assert (draws.std(0) / deviation - 1).abs().max() < 0.1
    assert set(posterior.fixed) == {
        "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"
    }  # fmt: skip
    assert torch.equal(ensemble.weights["norm.weight"][0], ensemble.weights["norm.weight"][-1])
    assert not torch.equal(posterior.fixed["norm.weight"], torch.ones(4))  # trained as a point
    assert torch.equal(
        posterior.sample(2, seed=5).weights["conv.bias"], posterior.sample(2, seed=5).weights["conv.bias"]
    )
    assert not torch.equal(
        posterior.sample(2, seed=5).weights["conv.bias"], posterior.sample(2, seed=6).weights["conv.bias"]
    )


def test_begins_at_a_trained_network():
    data = blobs(shape=(1, 6, 6))
    trained = sgd(Residual(), data, seed=5, training=SHORT)
    posterior = fit_mean_field(Residual(), data, seed=0, initial=trained, training=Training(1, 50, 1e-30))
    for name, mean in posterior.mean.items():
        assert torch.equal(mean, trained.weights[name][0])
    assert torch.equal(posterior.fixed["norm.weight"], trained.weights["norm.weight"][0])
    assert len(posterior.diagnostics.settings["initial"]) == 16
    with pytest.raises(ValueError, match=r"mean_field: initial does not fit: conv.bias must be .* needs 1 draws"):
        mean_field(Residual(), data, seed=0, initial=trained[[0, 0]])


@pytest.mark.parametrize(
    "method",
    [
        lambda *a: mean_field(*a, seed=0, draws=3, training=SHORT),
        lambda *a: low_rank(*a, seed=0, draws=3, rank=2, training=SHORT),
        lambda *a: sghmc(*a, seed=0, draws=3, path=Path(2, 50, 1e-4, cycles=1), start=SHORT),
    ],
    ids=["mean_field", "low_rank", "sghmc"],
)
def test_batch_statistics_belong_to_the_draw(method):
    data = blobs(300, shape=(1, 6, 6))
    ensemble = method(Residual(), data)
    for s in range(3):
        w = {k: v[s] for k, v in ensemble.weights.items()}
        x = torch.relu(torch.nn.functional.conv2d(data.images, w["conv.weight"], w["conv.bias"], padding=1))
        maps = torch.nn.functional.conv2d(x, w["twice.weight"], padding=1)
        assert torch.allclose(w["norm.running_mean"], maps.mean((0, 2, 3)), atol=1e-5)
        assert torch.allclose(w["norm.running_var"], maps.var((0, 2, 3)), rtol=1e-3)


def test_without_data_the_posterior_is_the_prior():
    split = blobs(2)
    posterior = fit_mean_field(
        fc2((4,), 3, width=6),
        Split(split.images, split.labels),
        seed=0,
        temperature=1e4,
        training=Training(300, 2, 0.03),
    )
    ratios = posterior.diagnostics.summary["deviation_over_prior"]
    assert all(abs(r - 1) < 0.02 for r in ratios.values())
    assert posterior.divergence() < 0.05


@pytest.mark.parametrize("estimator", ["auto", "local", "flipout"])
def test_convolutions_learn_under_every_estimator(estimator):
    dataset = data.load("fashion-mini")
    train, test = (centres_of_classes(split, (1, 5, 8)) for split in (dataset.train, dataset.test))
    training = Training(epochs=12, batch_size=50, learning_rate=1e-2)
    network = conv((1, 16, 16), 3, width=4)
    settings = {"estimator": estimator, "temperature": 0.1, "training": training}
    ensemble = mean_field(network, train[:500], seed=0, draws=20, **settings)
    assert accuracy(ensemble, test) > 0.9


def centres_of_classes(split, classes):
    rows = torch.isin(split.labels, torch.tensor(classes)).nonzero()[:, 0]
    return Split(split.images[rows][..., 6:22, 6:22], torch.searchsorted(torch.tensor(classes), split.labels[rows]))


def test_learns_embedded_fashion_and_reports():
    dataset = data.load("fashion-mini")
    training = Training(epochs=12, batch_size=64, learning_rate=2e-2)
    network = fc2((1, 28, 28), 10, width=32)
    ensemble = mean_field(network, dataset.train[:3000], seed=0, draws=30, training=training)
    assert len(ensemble) == 30
    assert accuracy(ensemble, dataset.test) > 0.55
    diagnostics = ensemble.diagnostics
    summary = diagnostics.summary
    parts = summary["log_likelihood_per_image"] - summary["divergence_per_image"]
    assert summary["elbo_per_image"] == pytest.approx(parts)
    assert set(summary["deviation_over_prior"]) == set(ensemble.weights)
    assert all(0 < r < 1.1 for r in summary["deviation_over_prior"].values())
    assert len(diagnostics.history["elbo"]) == len(diagnostics.history["divergence"]) == 12
    assert diagnostics.settings["prior"] == {"kind": "FanIn", "hidden": 2.0, "output": 16.0, "bias": 0.09}
    assert diagnostics.settings["draws"] == 30
    assert "a longer fit would change this posterior" in diagnostics.warnings[0]


def test_a_fit_that_has_settled_says_nothing():
    training = Training(epochs=150, batch_size=60, learning_rate=2e-2)
    posterior = fit_mean_field(nn.Linear(4, 3), blobs(), seed=0, training=training)
    assert posterior.diagnostics.warnings == ()
    assert abs(posterior.diagnostics.summary["elbo_gain_of_last_third"]) < 0.05


def test_steps_too_few_to_reach_the_prior_are_told():
    fit = lambda training: fit_mean_field(nn.Linear(4, 3), blobs(), seed=0, training=training).diagnostics.warnings
    said = fit(Training(epochs=10, batch_size=60, learning_rate=1e-3))[-1]
    assert "began at 0.1 of the prior's and could grow by a factor of about 1.02" in said
    half, whole = Training(44, 10, 0.1), Training(44, 10, 0.1, schedule="constant")  # a cosine goes half as far
    assert (len(Start(ratio=0.1).warnings(half, 10)), len(Start(ratio=0.1).warnings(whole, 10))) == (1, 0)
    assert Start(ratio=1.0).warnings(Training(epochs=1), 10) == ()


@pytest.mark.parametrize("prior", ["unit", Isotropic(0.2), FanIn(hidden=1.0)])
def test_other_priors(prior):
    posterior = fit_mean_field(fc2((4,), 3, width=5), blobs(), seed=0, prior=prior, training=SHORT)
    expected = Isotropic(1.0) if prior == "unit" else prior
    assert posterior.prior == expected.deviations(fc2((4,), 3, width=5))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"temperature": 0.0}, r"mean_field: temperature must lie in \(0, inf\], got 0\.0"),
        ({"estimator": "mc"}, "estimator must be 'auto', 'local' or 'flipout', got 'mc'"),
        ({"prior": "horseshoe"}, "prior must be 'fan_in', 'unit'"),
        ({"draws": 0}, "mean_field: draws must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        mean_field(fc2((4,), 3), blobs(), seed=0, **settings)
