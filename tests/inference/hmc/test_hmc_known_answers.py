"""Posteriors with known answers: means, covariances and quantiles within Monte-Carlo error."""

import math
from statistics import NormalDist

import pytest
import torch
from torch import nn

from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.kernel import State, transition, with_slope
from holdfast.inference.hmc.potential import potential

CHAINS = 200


class Density:
    """A potential from a formula U(z) `[K, d] -> [K]`, the prior's |z|^2 / 2 left out, by autograd in float64."""

    def __init__(self, formula):
        self.formula = formula

    def nll(self, z):
        return self.formula(z)

    def gradient(self, z):
        with torch.enable_grad():
            w = z.detach().requires_grad_()
            return torch.autograd.grad(self.formula(w).sum(), w)[0]

    def __call__(self, z):
        return self.nll(z), self.gradient(z)


def sample(density, size, *, steps, step, draws, warm_up=20, chains=CHAINS, speed=None, keep=1, start=None):
    """Draws `[draws, chains, size]` and the mean acceptance."""
    z = torch.zeros(chains, size, dtype=torch.float64) if start is None else start
    state = with_slope(density, State(z, density.nll(z)))
    step = torch.full((chains,), step, dtype=torch.float64)
    found, moved = [], 0.0
    for number in range(warm_up + draws * keep):
        outcome = transition(density, state, range(chains), number, steps + number % 3, step, speed=speed)
        state = outcome.state
        if number >= warm_up and (number - warm_up) % keep == keep - 1:
            found.append(state.z)
            moved += float(outcome.accepted.double().mean())
    return torch.stack(found), moved / draws


def close(draws, expected, sigmas=5.0):
    """Whether a mean over draws and chains `[draws, chains]` is as expected, within the spread of the chains' means."""
    means = draws.mean(0)
    return abs(float(means.mean()) - expected) < sigmas * float(means.std()) / math.sqrt(len(means))


def regression():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    x[:, 1] += 0.8 * x[:, 0]
    return x, x @ torch.tensor([0.7, -0.4, 1.1]).double() + 0.5 * torch.randn(40, generator=generator).double()


@pytest.mark.parametrize("speed", [None, torch.tensor([0.3, 1.0, 0.6])], ids=["unit mass", "mass"])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_linear_regression(speed, temperature):
    x, y = regression()
    noise, prior = 0.5, torch.tensor([0.8, 1.5, 0.4]).double()
    scale = prior * math.sqrt(temperature)
    density = Density(lambda z: ((y - (z * scale) @ x.T) / noise).square().sum(1) / (2 * temperature))
    found, moved = sample(density, 3, steps=12, step=0.055, draws=150, speed=speed)
    draws = found * scale
    precision = (x.T @ x / noise**2 + torch.diag(prior**-2)) / temperature
    covariance = torch.linalg.inv(precision)
    mean = covariance @ (x.T @ y) / noise**2 / temperature
    assert 0.5 < moved < 0.999  # a test that always passes would show nothing about the test
    for i in range(3):
        assert close(draws[..., i], float(mean[i]))
        for j in range(i + 1):
            assert close((draws[..., i] - mean[i]) * (draws[..., j] - mean[j]), float(covariance[i, j]))
        for probability in (0.05, 0.25, 0.5, 0.75, 0.95):
            quantile = NormalDist(float(mean[i]), float(covariance[i, i].sqrt())).inv_cdf(probability)
            assert close((draws[..., i] <= quantile).double(), probability)


def test_without_the_metropolis_test_the_answer_is_another_one():
    # the check above would see a kernel that never refuses
    x, y = regression()
    density = Density(lambda z: ((y - z @ x.T) / 0.5).square().sum(1) / 2)
    z = torch.zeros(CHAINS, 3, dtype=torch.float64)
    state, step, kept = with_slope(density, State(z, density.nll(z))), torch.full((CHAINS,), 0.085), []
    for number in range(120):
        state = transition(density, state, range(CHAINS), number, 10 + number % 3, step, guard=1e9).state
        kept.append(state.z)
    covariance = torch.linalg.inv(x.T @ x / 0.25 + torch.eye(3).double())
    mean = covariance @ (x.T @ y) / 0.25
    draws = torch.stack(kept[20:])
    assert not all(close((draws[..., i] - mean[i]).square(), float(covariance[i, i])) for i in range(3))


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_logistic_regression_through_a_network(temperature):
    # two classes, softmax of a linear map: the difference of its rows is the only thing the data see
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    labels = (x @ torch.tensor([1.5, -0.5]).double() + torch.randn(30, generator=generator).double() > 0).long()
    network = nn.Linear(2, 2, bias=False).double()
    s = 0.9 * math.sqrt(temperature)
    coordinates = Coordinates({"weight": (2, 2)}, {"weight": s})
    density = potential(network, coordinates, x[None], labels[None], temperature=temperature, precision="float64")
    found, moved = sample(density, 4, steps=10, step=0.15, draws=150)
    weights = coordinates.parameters(found.flatten(0, 1))["weight"].view(*found.shape[:2], 2, 2)
    draws = weights[:, :, 1] - weights[:, :, 0]

    grid = torch.linspace(-8, 8, 401, dtype=torch.float64)  # the posterior by quadrature
    points = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1).view(-1, 2)
    likelihood = nn.functional.logsigmoid((2 * labels - 1) * (points @ x.T)).sum(1) / temperature
    mass = (likelihood - points.square().sum(1) / (4 * s**2)).softmax(0)  # variance 2 s^2
    assert 0.5 < moved < 0.999
    for i in range(2):
        assert close(draws[..., i], float(mass @ points[:, i]))
        assert close(draws[..., i].square(), float(mass @ points[:, i].square()))
        for probability in (0.1, 0.5, 0.9):
            quantile = grid[int((mass.view(401, 401).sum(1 - i).cumsum(0) < probability).sum())]
            below = float(mass[points[:, i] <= quantile].sum())
            assert close((draws[..., i] <= quantile + 0.02).double(), below, 6.0) or close(
                (draws[..., i] <= quantile).double(), below, 6.0
            )
    assert close(weights[..., 0].sum(-1), 0.0)  # the sum of the rows is left to the prior
    assert close(weights[..., 0].sum(-1).square(), 2 * s**2)


def test_banana():
    # z1 normal, z2 given z1 normal around z1^2 - 1
    around, width = (lambda a: a.square() - 1), 0.4
    formula = lambda z: ((z[:, 1] - around(z[:, 0])) / width).square() / 2 - z[:, 1].square() / 2
    draws, moved = sample(Density(formula), 2, steps=12, step=0.13, draws=200, keep=2)
    assert 0.5 < moved < 0.999
    a, b = draws[..., 0], draws[..., 1]
    assert close(a, 0.0)
    assert close(a.square(), 1.0)
    assert close((a < -1.2816).double(), 0.1)
    assert close(b, 0.0)
    assert close(b.square(), 2 + width**2)  # the variance of z1^2 is 2
    assert close(a.square() * b, 2.0)


def test_funnel():
    # v normal with deviation 1, x given v normal with deviation exp(v / 2)
    def formula(z):
        v, x = z[:, 0], z[:, 1:]
        return 0.5 * x.square().sum(1) * (-v).exp() + 0.5 * x.shape[1] * v - 0.5 * x.square().sum(1)

    start = torch.randn(CHAINS, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    draws, moved = sample(Density(formula), 3, steps=15, step=0.12, draws=200, keep=2, start=start)
    assert 0.5 < moved < 0.9999
    v, x = draws[..., 0], draws[..., 1]
    assert close(v, 0.0)
    assert close(v.square(), 1.0)
    for q in (-1.2816, 1.2816):
        assert close((v < q).double(), 0.1 if q < 0 else 0.9)
    assert close(x, 0.0)
    assert close((x * (-v / 2).exp()).square(), 1.0)
    assert close((x.abs() > (v / 2).exp() * 0.6745).double(), 0.5)
