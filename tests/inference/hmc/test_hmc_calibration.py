"""Calibration on a small network: ranks under simulated data, and Geweke's joint test; with faults that they catch."""

import math

import pytest
import torch
from scipy import stats
from torch import nn

from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.kernel import State, transition, with_slope
from holdfast.inference.hmc.potential import potential
from holdfast.inference.priors import FanIn

POINTS, CELLS = 15, 300


def problem():
    network = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    coordinates = Coordinates(shapes, FanIn().deviations(network))
    x = torch.randn(1, POINTS, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return network, coordinates, x


def logits_of(coordinates, z, x):
    w = coordinates.parameters(z)
    hidden = torch.tanh(x @ w["0.weight"].mT + w["0.bias"][:, None])
    return hidden @ w["2.weight"].mT + w["2.bias"][:, None]


def labels_of(coordinates, z, x, generator):
    """Labels drawn from the network of each row."""
    p = logits_of(coordinates, z, x).softmax(-1)[..., 1]
    return (torch.rand(p.shape, generator=generator, dtype=torch.float64) < p).long()


def test_ranks_of_the_truth_are_uniform():
    network, coordinates, x = problem()
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(CELLS, coordinates.size, generator=generator, dtype=torch.float64)
    labels = labels_of(coordinates, truth, x, generator)
    density = potential(network, coordinates, x, labels, precision="float64")
    z = torch.randn(CELLS, coordinates.size, generator=generator, dtype=torch.float64)
    state, step, found = with_slope(density, State(z, density.nll(z))), torch.full((CELLS,), 0.25), []
    for number in range(30 + 4 * 15):
        state = transition(density, state, range(CELLS), number, 5 + number % 3, step).state
        if number >= 30 and number % 4 == 0:
            found.append(state.z)
    assert len(found) == 15
    probe = torch.tensor([[[0.5, -1.0]]], dtype=torch.float64)
    wanted = {
        "a logit's difference": lambda z: logits_of(coordinates, z, probe)[:, 0].diff(dim=-1)[:, 0],
        "squared length": lambda z: z.square().sum(1),
        "log likelihood": lambda z: -density.nll(z),
    }
    for name, value in wanted.items():
        ranks = sum((value(draw) < value(truth)).long() for draw in found)
        counts = torch.bincount(ranks // 2, minlength=8)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3, (name, counts)


def joint(rounds, spoil=None, cells=2000):
    """Labels given weights, weights given labels, in turns, from draws of both: the weights keep the prior."""
    network, coordinates, x = problem()
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(cells, coordinates.size, generator=generator, dtype=torch.float64)
    step = torch.full((cells,), 0.45)
    for number in range(rounds):
        labels = labels_of(coordinates, z, x, generator)
        density = potential(network, coordinates, x, labels, precision="float64")
        if spoil:
            spoil(density)
        state = with_slope(density, State(z, density.nll(z)))
        z = transition(density, state, range(cells), number, 4, step).state.z
    return z


def deviations(z):
    """How many standard errors the moments of the rows are from those of the prior."""
    count, mean, square = len(z), z.mean(0), z.square().mean(0)
    length = z.square().sum(1)
    return torch.cat(
        [
            mean * math.sqrt(count),
            (square - 1) * math.sqrt(count / 2),
            (length.mean()[None] - z.shape[1]) * math.sqrt(count / (2 * z.shape[1])),
        ]
    ).abs()


def test_gewekes_joint_test():
    assert float(deviations(joint(25)).max()) < 4.5


@pytest.mark.parametrize("fault", ["temperature", "energy"])
def test_gewekes_joint_test_sees_faults(fault):
    def spoil(density):
        if fault == "temperature":
            density.temperature = 0.5  # counts every image twice
        else:
            inner = density.nll
            density.nll = lambda z: 0.5 * inner(z)  # energies that are not those of the labels

    assert float(deviations(joint(25, spoil)).max()) > 6
