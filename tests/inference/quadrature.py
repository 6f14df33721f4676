"""Posteriors of networks with two or three parameters, summed over a grid, for the tests of this room."""

import math

import torch
from torch import nn

from holdfast.data import Split
from holdfast.networks import normalised

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


def check(draws, expected, chains, sigmas=4.5):
    """Means over draws `[functions, chains * draws]` within the spread of the chains' means."""
    for values, truth in zip(draws, expected, strict=True):
        means = values.view(chains, -1).mean(1)
        assert abs(float(means.mean()) - truth) < sigmas * float(means.std()) / math.sqrt(chains)


def learned(ensemble):
    return [ensemble.weights[name] for name, _ in ensemble.network.named_parameters()]


def evaluated(logit, *weights):
    """The functions of draws `[S]`."""
    return [function(lambda x: logit(*weights, x), *weights).double() for function in FUNCTIONS]
