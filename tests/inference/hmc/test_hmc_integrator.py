"""The trajectory: reversible, keeps volume, exact without a likelihood, no drift in float32."""

import math

import pytest
import torch
from hmc_problems import blobs
from torch import nn

from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.integrator import energy, trajectory
from holdfast.inference.hmc.potential import potential
from holdfast.inference.priors import FanIn


def density(network, data):
    scales = FanIn().deviations(network)
    coordinates = Coordinates({k: tuple(p.shape) for k, p in network.named_parameters()}, scales)
    return potential(network, coordinates, data.images[None], data.labels[None], precision="float64"), coordinates.size


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("with_speed", [False, True])
def test_a_reversed_trajectory_returns(with_speed):
    network = nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 3)).double()
    function, size = density(network, blobs(dtype=torch.float64))
    speed = torch.rand(size, dtype=torch.float64) if with_speed else None
    z, q, step = noise(2, size), noise(2, size, seed=1), torch.tensor([0.03, 0.02])
    end = trajectory(function.gradient, z, q, 60, step, speed=speed)
    assert (end.z - z).abs().max() > 0.1
    back = trajectory(function.gradient, end.z, -end.momentum, 60, step, speed=speed)
    assert (back.z - z).abs().max() < 1e-6
    assert (back.momentum + q).abs().max() < 1e-6
    other = trajectory(function.gradient, end.z, end.momentum, 60, -step, speed=speed)
    assert (other.z - z).abs().max() < 1e-6


def test_volume_is_kept_on_a_network_of_three_parameters():
    network = nn.Sequential(nn.Linear(1, 1), nn.Tanh(), nn.Linear(1, 1, bias=False)).double()
    assert sum(p.numel() for p in network.parameters()) == 3

    def gradient(z):  # a squared loss on five points, written out
        x, y = torch.linspace(-1, 1, 5, dtype=torch.float64), torch.tensor([0.3, -1.0, 0.2, 0.8, 2.0]).double()
        with torch.enable_grad():
            w = z.clone().requires_grad_()
            out = w[:, 2:] * (w[:, :1] * x + w[:, 1:2]).tanh()
            return torch.autograd.grad((10 * (out - y).square()).sum(), w)[0]

    def move(state):
        z, q = state[None, :3], state[None, 3:]
        end = trajectory(gradient, z, q, 7, torch.tensor([0.2]), speed=torch.tensor([1.0, 0.4, 0.7]))
        return torch.cat([end.z, end.momentum], 1)[0]

    state, h = noise(6), 1e-5
    columns = [(move(state + h * e) - move(state - h * e)) / (2 * h) for e in torch.eye(6, dtype=torch.float64)]
    jacobian = torch.stack(columns, 1)
    assert (jacobian - torch.eye(6)).abs().max() > 0.5  # it does move
    assert float(torch.linalg.det(jacobian)) == pytest.approx(1.0, abs=1e-7)


def test_without_a_likelihood_a_quarter_turn_swaps_position_and_momentum():
    z, q = noise(1, 5), noise(1, 5, seed=1)
    end = trajectory(torch.zeros_like, z, q, 10, torch.tensor([math.pi / 20], dtype=torch.float64))
    assert torch.allclose(end.z, q, atol=1e-12)
    assert torch.allclose(end.momentum, -z, atol=1e-12)


def test_rotations_do_not_drift_in_float32():
    # 700,000 coordinates, 500 steps: sines and cosines rounded to float32 lose or gain nats, shears do not
    z, q = noise(1, 700_000, dtype=torch.float32), noise(1, 700_000, seed=1, dtype=torch.float32)
    zero, none = torch.zeros(1, dtype=torch.float64), torch.zeros_like(z)
    before, step = energy(zero, z, q), torch.tensor([0.0036])
    end = trajectory(lambda z: none, z, q, 500, step)
    assert abs(float(energy(zero, end.z, end.momentum) - before)) < 0.05
    c, s = torch.cos(step), torch.sin(step)
    for _ in range(500):
        z, q = c * z + s * q, c * q - s * z
    assert abs(float(energy(zero, z, q) - before)) > 0.5


def test_energies_resolve_what_float32_does_not():
    z = torch.full((1, 700_000), 1.0)
    small = z.clone()
    small[0, 0] = 1.01
    zero = torch.zeros(1, dtype=torch.float64)
    assert float(energy(zero, small, z) - energy(zero, z, z)) == pytest.approx(0.5 * (1.01**2 - 1), rel=1e-4)


def test_error_falls_as_the_square_of_the_step():
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    function, size = density(network, blobs(dtype=torch.float64))
    z, q = noise(50, size), noise(50, size, seed=1)
    rms = []
    for steps in (40, 80):
        end = trajectory(function.gradient, z, q, steps, torch.full((50,), 0.8 / steps))
        error = energy(function.nll(end.z), end.z, end.momentum) - energy(function.nll(z), z, q)
        rms.append(float(error.square().mean().sqrt()))
    assert rms[0] / rms[1] == pytest.approx(4, rel=0.15)
