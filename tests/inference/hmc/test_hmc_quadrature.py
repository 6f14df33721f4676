"""hmc as a user calls it, against posteriors summed over a grid: every prior, temperature and mass, in float64."""

import math

import pytest
import torch
from torch import nn

from holdfast.data import Split
from holdfast.inference import EmpCov, FanIn, Isotropic, StudentT, Training
from holdfast.inference.hmc import Plan, hmc
from holdfast.networks import normalised

CHAINS, DRAWS = 64, 40
PLAN = Plan(chains=CHAINS, draws=DRAWS, warm_up=12, burn_in=(0.3,), start=Training(epochs=2, batch_size=12))
POINTS = torch.linspace(-1, 1, 121, dtype=torch.float64)


class Bent(nn.Module):
    """Logits (0, b tanh(a x)): two parameters, and no plain network, so that its gradient is autograd's."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(1, 1))
        self.b = nn.Parameter(torch.zeros(1, 1))

    def forward(self, x):
        bent = torch.tanh(x @ self.a) @ self.b
        return torch.cat([torch.zeros_like(bent), bent], 1)


def three(features=1):
    return nn.Sequential(nn.Linear(features, 1, bias=False), nn.Tanh(), nn.Linear(1, 2, bias=False))


def images(features):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(12, features, generator=generator, dtype=torch.float64).clamp(-2.4, 2.4)
    if features == 2:
        x[:, 1] = 0.8 * x[:, 0] + 0.3 * x[:, 1]  # inputs that an empirical covariance can tell from white ones
    labels = (x[:, 0] + 0.7 * torch.randn(12, generator=generator).double() > 0).long()
    return x, Split(0.5 + 0.2 * x, labels)  # the networks undo it


def standardised(network):
    return normalised(network.double(), 0.5, 0.2).double()


def normal(s):
    return lambda w: -0.5 * (w / s).square()


def student(s, degrees):
    """log density of a t distribution scaled to deviation s."""
    return lambda w: -(degrees + 1) / 2 * torch.log1p((w / s).square() / (degrees - 2))


def expectations(axes, logit, log_prior, x, labels, temperature):
    """Of functions of the logit at some inputs and of the parameters, by summing over all points of a grid."""
    grids = torch.meshgrid(*axes, indexing="ij")
    f = lambda x: logit(*grids, x)
    fit = sum(nn.functional.logsigmoid((2 * y - 1) * f(x)) for x, y in zip(x, labels, strict=True))
    mass = ((fit + log_prior(*grids)) / temperature).flatten().softmax(0)
    shell = [float(mass.view(f(x[0]).shape).movedim(i, 0)[[0, -1]].sum()) for i in range(len(axes))]
    assert max(shell) < 1e-3  # the grid is wide enough
    return [float(mass @ function(f, *grids).flatten()) for function in FUNCTIONS]


AT = torch.tensor([[-0.5], [0.9]], dtype=torch.float64)
FUNCTIONS = [  # unchanged by the signs of hidden units, which no chain needs to have tried
    lambda f, *w: f(AT[1]),
    lambda f, *w: f(AT[0]) * f(AT[1]),
    lambda f, *w: f(AT[1]).sigmoid(),
    lambda f, *w: f(AT[0]).sigmoid().square(),
    lambda f, *w: w[0].square().log1p(),
    lambda f, *w: (-w[0].square()).exp(),
]


def check(draws, expected, sigmas=4.5):
    """Means over draws `[functions, chains * draws]` within the spread of the chains' means."""
    for values, truth in zip(draws, expected, strict=True):
        means = values.view(CHAINS, DRAWS).mean(1)
        assert abs(float(means.mean()) - truth) < sigmas * float(means.std()) / math.sqrt(CHAINS)


def learned(ensemble):
    return [ensemble.weights[name] for name, _ in ensemble.network.named_parameters()]


def evaluated(logit, *weights):
    """The functions of draws `[S]`."""
    return [function(lambda x: logit(*weights, x), *weights).double() for function in FUNCTIONS]


TAILS = StudentT(3.0, base=Isotropic(0.8))


@pytest.mark.parametrize(
    ("prior", "temperature", "a_prior", "b_prior"),
    [
        ("fan_in", 1.0, normal(2**0.5), normal(4.0)),  # 2 / 1 in the hidden layer, 16 / 1 in the last
        (Isotropic(1.7), 0.5, normal(1.7**0.5), normal(1.7**0.5)),
        (TAILS, 0.5, student(0.8**0.5, 3.0), student(0.8**0.5, 3.0)),
    ],
    ids=["fan_in", "isotropic, T = 0.5", "Student-t, T = 0.5"],
)
def test_two_parameters(prior, temperature, a_prior, b_prior):
    x, data = images(1)
    logit = lambda a, b, x: b * torch.tanh(a * x[0])
    log_prior = lambda a, b: a_prior(a) + b_prior(b)
    axis = 14 * torch.linspace(-1, 1, 801, dtype=torch.float64)
    expected = expectations((axis, 2 * axis), logit, log_prior, x, data.labels, temperature)
    ensemble = hmc(standardised(Bent()), data, seed=1, preset=PLAN, prior=prior, temperature=temperature)
    a, b = (w[:, 0, 0] for w in learned(ensemble))
    check(evaluated(logit, a, b), expected)


@pytest.mark.parametrize(("mass", "temperature"), [("prior", 1.0), ("kron_in", 0.5)])
def test_three_parameters_of_a_plain_network(mass, temperature):
    x, data = images(1)
    logit = lambda a, b, c, x: (c - b) * torch.tanh(a * x[0])
    s, t = 1.4, 1.0
    log_prior = lambda a, b, c: normal(s)(a) + normal(t)(b) + normal(t)(c)
    axes = (6 * s * POINTS, 5 * t * POINTS, 5 * t * POINTS)
    expected = expectations(axes, logit, log_prior, x, data.labels, temperature)
    prior = FanIn(hidden=s**2, output=t**2)
    ensemble = hmc(standardised(three()), data, seed=2, preset=PLAN, prior=prior, temperature=temperature, mass=mass)
    first, last = learned(ensemble)
    a, (b, c) = first[:, 0, 0], last[:, :, 0].T
    check(evaluated(logit, a, b, c), expected)


@pytest.mark.parametrize("mass", ["prior", "kron_in"])
def test_empirical_covariance(mass):
    (x, data), ridge, s, t, temperature = images(2), 0.05, 1.2, 1.0, 0.8
    covariance = torch.cov(x.T, correction=0)
    bracket = (1 - ridge) * covariance / (covariance.trace() / 2) + ridge * torch.eye(2, dtype=torch.float64)
    precision = torch.linalg.inv(s**2 * bracket)
    log_prior = lambda a, b, d: (
        -0.5 * (precision[0, 0] * a * a + 2 * precision[0, 1] * a * b + precision[1, 1] * b * b)
        + normal(2**0.5 * t)(d)  # of the difference of two output weights
    )
    logit = lambda a, b, d, x: d * torch.tanh(a * x[0] + b * x[-1])
    axes = (6 * POINTS, 6 * POINTS, 8 * POINTS)
    expected = expectations(axes, logit, log_prior, x, data.labels, temperature)
    prior = EmpCov(ridge, base=FanIn(hidden=2 * s**2, output=t**2))
    ensemble = hmc(standardised(three(2)), data, seed=3, preset=PLAN, prior=prior, temperature=temperature, mass=mass)
    first, last = learned(ensemble)
    (a, b), (c, d) = first[:, 0].T, last[:, :, 0].T
    check(evaluated(logit, a, b, d - c), expected)
