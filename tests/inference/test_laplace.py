"""laplace: the Hessian against autograd, the covariance of the draws, structures, the last layer's identity."""

import pytest
import torch
import torch.nn.functional as F
from problems import Residual, accuracy, blobs
from torch import nn

from holdfast.inference import FanIn, Isotropic, Training, laplace, sgd
from holdfast.inference.laplace import draw, hessian
from holdfast.networks import fc2

SHORT = Training(epochs=30, batch_size=40, learning_rate=1e-2)
PRIOR = Isotropic(0.5)


def problem():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    weights = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    return inputs, weights, torch.randint(0, 3, (20,), generator=generator)


def exact():
    inputs, weights, labels = problem()
    loss = lambda w: F.cross_entropy(inputs @ w.view(3, 4).T, labels, reduction="sum")
    return torch.func.hessian(loss)(weights.flatten())


@pytest.mark.parametrize("structure", ["full", "diagonal"])
def test_hessian_is_that_of_autograd_and_adds_up_over_images(structure):
    inputs, weights, _ = problem()
    probabilities = (inputs @ weights.T).softmax(1)
    whole = hessian(inputs, probabilities, structure)
    parts = hessian(inputs[:7], probabilities[:7], structure) + hessian(inputs[7:], probabilities[7:], structure)
    assert torch.allclose(whole, parts)
    expected = exact() if structure == "full" else exact().diagonal()
    assert torch.allclose(whole.reshape(expected.shape), expected)


def test_kronecker_is_exact_where_all_images_are_alike():
    inputs, weights, _ = problem()
    inputs = inputs[:1].expand(20, 4)
    probabilities = (inputs @ weights.T).softmax(1)
    normal = torch.randn((50, 3, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    determinants = [draw(hessian(inputs, probabilities, s), 20, normal, s)[1] for s in ("full", "kronecker")]
    assert torch.allclose(*determinants)


@pytest.mark.parametrize("structure", ["full", "kronecker", "diagonal"])
def test_draws_have_the_inverse_as_their_covariance(structure):
    inputs, weights, _ = problem()
    probabilities = (inputs @ weights.T).softmax(1)
    normal = torch.randn((100_000, 3, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    draws, log_determinant = draw(hessian(inputs, probabilities, structure), 20, normal, structure)
    precision = exact()
    if structure == "kronecker":
        curvature = torch.diag(probabilities.mean(0)) - probabilities.T @ probabilities / 20
        precision = torch.kron(curvature, inputs.T @ inputs)
    elif structure == "diagonal":
        precision = torch.diag(precision.diagonal())
    precision = precision + torch.eye(12)
    covariance = torch.linalg.inv(precision)
    scale = covariance.diagonal().sqrt()
    assert ((torch.cov(draws.flatten(1).T) - covariance).abs() < 0.025 * scale * scale[:, None]).all()
    assert torch.allclose(log_determinant, precision.logdet())


def test_logistic_regression_gets_its_textbook_approximation():
    data = blobs(60, dtype=torch.float64)
    training = Training(epochs=200, batch_size=60, learning_rate=0.05)
    ensemble = laplace(nn.Linear(4, 3), data, seed=0, draws=50_000, prior=PRIOR, training=training)
    point = sgd(nn.Linear(4, 3), data, seed=0, prior=PRIOR, training=training)
    mean = torch.cat([point.weights["weight"][0], point.weights["bias"][0][:, None]], 1)
    draws = torch.cat([ensemble.weights["weight"], ensemble.weights["bias"][..., None]], 2)
    assert torch.allclose(draws.mean(0), mean, atol=0.02)
    x = torch.cat([data.images, torch.ones(60, 1, dtype=torch.float64)], 1)

    def energy(w):
        return F.cross_entropy(x @ w.view(3, 5).T, data.labels, reduction="sum") + w.square().sum() / (2 * 0.5)

    assert torch.func.grad(energy)(mean.flatten()).abs().max() < 0.5  # training found the maximum of the posterior
    covariance = torch.linalg.inv(torch.func.hessian(energy)(mean.flatten()))
    scale = covariance.diagonal().sqrt()
    assert ((torch.cov(draws.flatten(1).T) - covariance).abs() < 0.03 * scale * scale[:, None]).all()


@pytest.mark.parametrize("structure", ["full", "kronecker", "diagonal"])
def test_only_the_last_layer_varies_and_draws_are_accurate(structure):
    ensemble = laplace(
        fc2((4,), 3, width=16), blobs(), seed=0, draws=20, prior=FanIn(), structure=structure, training=SHORT
    )
    for name, value in ensemble.weights.items():
        assert bool((value == value[0]).all()) == (not name.startswith("output")), name
    assert accuracy(ensemble, blobs(seed=1)) > 0.85
    assert 0 < ensemble.diagnostics.summary["median_deviation_over_prior"] < 1
    assert ensemble.diagnostics.settings["structure"] == structure


def test_without_information_the_draws_are_those_of_the_prior():
    data = blobs(4)
    dark = type(data)(torch.zeros_like(data.images), data.labels)
    ensemble = laplace(nn.Linear(4, 3, bias=False), dark, seed=0, draws=5000, prior=PRIOR, training=Training(epochs=2))
    spread = ensemble.weights["weight"].std(0)
    assert torch.allclose(spread, torch.full_like(spread, 0.5**0.5), rtol=0.06)


def test_any_module_that_ends_in_a_linear_layer():
    data = blobs(shape=(1, 6, 6))
    ensemble = laplace(Residual(), data, seed=0, draws=3, training=Training(epochs=2))
    assert torch.isfinite(ensemble.logits(data.images)).all()
    assert not torch.equal(ensemble.weights["out.bias"][0], ensemble.weights["out.bias"][1])


class Doubled(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return 2 * self.linear(x)


@pytest.mark.parametrize(
    ("network", "settings", "match"),
    [
        (Doubled(), {}, "must end in a linear layer of its own that gives the logits"),
        (nn.Linear(4, 3), {"structure": "kfac"}, "structure must be 'full', 'kronecker', 'diagonal', got 'kfac'"),
        (fc2((4,), 3, width=4000), {}, "needs a matrix of 12,003 rows .* use 'kronecker'"),
        (nn.Linear(4, 3), {"draws": 0}, "draws must be"),
        (nn.Linear(4, 3), {"prior": "flat"}, "prior must be"),
    ],
)
def test_bad_settings(network, settings, match):
    with pytest.raises(ValueError, match=match):
        laplace(network, blobs(), seed=0, **{"training": Training(epochs=1), **settings})
