"""hmc as a user calls it, against posteriors summed over a grid: every prior, temperature and mass, in float64."""

import hmc_problems  # noqa: F401, the room's path
import pytest
import torch
from quadrature import (
    POINTS,
    Bent,
    check,
    evaluated,
    expectations,
    images,
    learned,
    normal,
    standardised,
    student,
    three,
)

from holdfast.inference import EmpCov, FanIn, Isotropic, StudentT, Training
from holdfast.inference.hmc import Plan, hmc

CHAINS = 64
PLAN = Plan(chains=CHAINS, draws=40, warm_up=12, burn_in=(0.3,), start=Training(epochs=2, batch_size=12))
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
    check(evaluated(logit, a, b), expected, CHAINS)


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
    check(evaluated(logit, a, b, c), expected, CHAINS)


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
    check(evaluated(logit, a, b, d - c), expected, CHAINS)
