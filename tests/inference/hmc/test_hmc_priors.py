"""Priors that only hmc takes: Student-t tails, and the input covariance in the first layer."""

import math

import pytest
import torch
from hmc_problems import blobs
from scipy import stats
from torch import nn

from holdfast.inference import prior_draws, sgd
from holdfast.inference.hmc import Plan, hmc
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.heavy_tails import HeavyTails
from holdfast.inference.hmc.kernel import State, transition, with_slope
from holdfast.inference.priors import EmpCov, StudentT
from holdfast.networks import conv


class Nothing:
    """No data."""

    def nll(self, z):
        return torch.zeros(len(z), dtype=torch.float64)

    def gradient(self, z):
        return torch.zeros_like(z)

    def __call__(self, z):
        return self.nll(z), self.gradient(z)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_heavy_tails_without_data_are_the_t_distribution(temperature):
    degrees, chains = 4.0, 200
    density = HeavyTails(Nothing(), degrees, temperature)
    z = torch.randn(chains, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    state, step, found = with_slope(density, State(z, density.nll(z))), torch.full((chains,), 0.4), []
    for number in range(100):
        outcome = transition(density, state, range(chains), number, 4 + number % 2, step)
        state = outcome.state
        if number >= 20:
            found.append(state.z)
    values = (torch.stack(found) * math.sqrt(temperature)).flatten(2).movedim(1, 0).flatten(1)  # [chains, ...]
    scale = math.sqrt((degrees - 2) / degrees)
    if temperature == 1.0:
        quantiles = {p: stats.t.ppf(p, degrees) * scale for p in (0.01, 0.1, 0.25, 0.75, 0.99)}
    else:  # the density to the power 1 / T is a t again, of (nu + 1) / T - 1 degrees
        nu = (degrees + 1) / temperature - 1
        quantiles = {p: stats.t.ppf(p, nu) * scale * math.sqrt(degrees / nu) for p in (0.01, 0.1, 0.25, 0.75, 0.99)}
    for p, q in quantiles.items():
        below = (values < q).double().mean(1)
        assert abs(float(below.mean()) - p) < 5 * float(below.std()) / math.sqrt(chains)


def test_gradient_of_heavy_tails():
    density = HeavyTails(Nothing(), 3.0, 0.5)
    z = torch.tensor([[0.3, -2.0, 7.0]], dtype=torch.float64)
    h = 1e-6 * torch.eye(3, dtype=torch.float64)
    slope = (density.nll(z + h) - density.nll(z - h)) / 2e-6
    assert torch.allclose(density.gradient(z)[0], slope, rtol=1e-6, atol=1e-7)


def test_empirical_covariance():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 3, generator=generator, dtype=torch.float64) @ torch.randn(3, 5, generator=generator).double()
    x[:, 2] = -0.7  # a dead pixel of a standardised image
    prior = EmpCov(ridge=1e-4)
    root = prior.root(x)
    covariance = root @ root.T
    assert float(covariance[2, 2]) == pytest.approx(1e-4)
    expected = torch.cov(x.T, correction=0)
    expected = (1 - 1e-4) * expected / expected.diagonal().mean() + 1e-4 * torch.eye(5)
    assert torch.allclose(covariance, expected, atol=1e-12)
    coordinates = Coordinates({"w": (4, 5)}, {"w": 0.3}, {"w": root})
    draws = coordinates.parameters(torch.randn(20000, 20, generator=generator, dtype=torch.float64))["w"].flatten(0, 1)
    assert torch.allclose(torch.cov(draws.T), 0.09 * expected, atol=0.01 * 0.09 * float(expected.max()) * 3)


def test_dead_pixels_stay_dead():
    data = blobs(80)
    data.images[:, 1] = 0.0
    plan = Plan(chains=2, draws=4, warm_up=3, burn_in=(0.3,))
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    spread = {
        p: hmc(network, data, seed=0, preset=plan, prior=p).weights["0.weight"][:, :, 1].std()
        for p in ("fan_in", "emp_cov")
    }
    assert spread["emp_cov"] < 0.05 * spread["fan_in"]


@pytest.mark.parametrize("method", [sgd, prior_draws])
@pytest.mark.parametrize("prior", [StudentT(), EmpCov()])
def test_other_methods_refuse_them(method, prior):
    with pytest.raises(ValueError, match="prior must be 'fan_in', 'unit'"):
        method(nn.Linear(4, 3), blobs(20), seed=0, prior=prior)


def test_what_does_not_go_together():
    data = blobs(8, (1, 16, 16))
    with pytest.raises(ValueError, match="EmpCov needs a plain network of linear layers"):
        hmc(conv((1, 16, 16), 3, width=2), data, seed=0, prior="emp_cov")
    with pytest.raises(ValueError, match="a Student-t prior does not allow it"):
        hmc(nn.Linear(4, 3), blobs(8), seed=0, prior="student_t", mass="kron_in")
    with pytest.raises(ValueError, match=r"StudentT: degrees must lie in \(2"):
        StudentT(2.0)
    with pytest.raises(ValueError, match=r"EmpCov: ridge must lie in \(0"):
        EmpCov(0.0)
