"""Priors: deviations by layer, the scale of the logits, the log density."""

import math

import pytest
import torch
from torch import nn

from holdfast.inference import FanIn, Isotropic
from holdfast.inference.priors import as_prior, log_density
from holdfast.networks import conv, fc2


def test_fan_in_by_layer():
    deviations = FanIn().deviations(conv((1, 28, 28), 10))
    expected = {"conv1.weight": 2 / 25, "conv2.weight": 2 / 400, "output.weight": 16 / 25088}
    for name, value in expected.items():
        assert deviations[name] == pytest.approx(math.sqrt(value))
    assert {v for k, v in deviations.items() if k.endswith("bias")} == {0.3}


def test_transposed_convolutions_count_their_inputs():
    network = nn.Sequential(nn.ConvTranspose2d(6, 3, 5), nn.Flatten(), nn.Linear(3, 2))
    assert FanIn().deviations(network)["0.weight"] == pytest.approx(math.sqrt(2 / 150))
    assert FanIn().deviations(nn.ConvTranspose2d(6, 3, 5))["weight"] == pytest.approx(math.sqrt(16 / 150))


@pytest.mark.parametrize("width", [64, 1024])
def test_prior_logits_are_a_few_units_at_every_width(width):
    generator = torch.Generator().manual_seed(0)
    network = fc2((1, 28, 28), 10, width=width)
    x = torch.randn(200, 1, 28, 28, generator=generator)  # standardised
    scale = lambda prior: _logit_scale(network, as_prior("test", prior), x, generator)
    assert 2 < scale("fan_in") < 6
    assert scale("unit") > 500


def _logit_scale(network, prior, x, generator):
    deviations = prior.deviations(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * deviations[name])
        return float(network(x).std())


def test_log_density_is_that_of_the_normal_distribution():
    generator = torch.Generator().manual_seed(0)
    values = {"a": torch.randn(3, 2, generator=generator), "b": torch.randn(4, generator=generator)}
    deviations = {"a": 0.5, "b": 2.0}
    normal = lambda s: torch.distributions.Normal(torch.zeros(1, dtype=torch.float64), s)
    expected = sum(normal(deviations[k]).log_prob(v.double()).sum() for k, v in values.items())
    assert float(log_density(values, deviations)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Isotropic(0.0), r"Isotropic: variance must lie in \(0, inf\], got 0"),
        (lambda: FanIn(hidden=-1), "FanIn: hidden must lie"),
        (lambda: as_prior("call", "laplace"), r"call: prior must be 'fan_in', 'unit', FanIn.*got 'laplace'"),
    ],
)
def test_bad_priors(make, match):
    with pytest.raises(ValueError, match=match):
        make()
