"""A posterior that other samplers are asked about too: two classes, two inputs, six weights, 40 images."""

import torch
from torch import nn

from holdfast.inference import FanIn
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.kernel import State, transition, with_slope
from holdfast.inference.hmc.potential import potential


def problem():
    """(network, inputs, labels, prior deviations by name)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    labels = (x[:, 0] - 0.5 * x[:, 1] + torch.randn(40, generator=generator) > 0).long()
    network = nn.Linear(2, 2).double()
    return network, x, labels, FanIn(output=1.0).deviations(network)


def ours(network, x, labels, scales):
    """(coordinates, density) of the problem here."""
    coordinates = Coordinates({k: tuple(p.shape) for k, p in network.named_parameters()}, scales)
    return coordinates, potential(network, coordinates, x[None], labels[None], precision="float64")


def our_draws():
    """Weights by name, the draws first: 100 short chains, 60 draws of each."""
    network, x, labels, scales = problem()
    coordinates, density = ours(network, x, labels, scales)
    chains = 100
    state = State(torch.zeros(chains, coordinates.size, dtype=torch.float64), torch.zeros(chains).double())
    state = with_slope(density, State(state.z, density.nll(state.z)))
    draws, step = [], torch.full((chains,), 0.25)
    for number in range(80):
        state = transition(density, state, range(chains), number, 6 + number % 3, step).state
        draws.append(state.z)
    return coordinates.parameters(torch.stack(draws[20:]).flatten(0, 1))
