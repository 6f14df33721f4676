"""The no-U-turn sampler of the museum: known answers, invariance, and when a path ends."""

import math

import pytest
import torch
from scipy import stats

from holdfast.inference.hmc.kernel import State, transition
from holdfast.inference.seeds import stream
from holdfast.studies.published.no_u_turn import no_u_turn


class Function:
    """A likelihood's potential by its formula; the gradient by automatic differentiation."""

    def __init__(self, formula):
        self.formula = formula

    def nll(self, z):
        return self.formula(z).double()

    def gradient(self, z):
        z = z.detach().requires_grad_()
        return torch.autograd.grad(self.formula(z).sum(), z)[0]

    def __call__(self, z):
        return self.nll(z), self.gradient(z)


def chain(potential, draws, step, size, dtype=torch.float64):
    start = torch.zeros(1, size, dtype=dtype)
    state, found = State(start, potential.nll(start)), []
    for number in range(draws):
        draw = no_u_turn(potential, state, 0, number, step)
        state = draw.state
        found.append(draw)
    return found


def test_a_gaussian_posterior_has_its_mean_and_covariance():
    precision = torch.tensor([[6.0, 2.0, 0.0], [2.0, 3.0, 0.5], [0.0, 0.5, 20.0]], dtype=torch.float64)
    centre = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    quadratic = Function(lambda z: 0.5 * torch.einsum("ki,ij,kj->k", z - centre, precision, z - centre))
    draws = torch.cat([d.state.z for d in chain(quadratic, 2000, 0.25, 3)])[100:]
    covariance = torch.linalg.inv(precision + torch.eye(3))
    mean = covariance @ precision @ centre
    deviation = covariance.diagonal().sqrt()
    assert ((draws.mean(0) - mean).abs() < 5 * deviation / math.sqrt(len(draws))).all()
    error = (draws.T.cov() - covariance) / (deviation[:, None] * deviation)
    assert error.abs().max() < 5 * math.sqrt(2 / len(draws))


@pytest.mark.parametrize("step", [0.2, 0.9, 1.4])
def test_a_posterior_that_is_no_gaussian_is_left_as_it_is(step):
    """Draws of p(w) sigmoid(3 (w - 1))^4 by its quantiles, moved once: still draws of it, at any step."""
    likelihood = Function(lambda z: -4 * torch.nn.functional.logsigmoid(3 * (z[:, 0] - 1)))
    grid = torch.linspace(-8, 8, 200_001, dtype=torch.float64)
    density = (-likelihood.nll(grid[:, None]) - grid.square() / 2).exp()
    cumulative = density.cumsum(0) / density.sum()
    ranks = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    moved, steps = [], 0
    for number, w in enumerate(grid[torch.searchsorted(cumulative, ranks)]):
        z = w.reshape(1, 1)
        draw = no_u_turn(likelihood, State(z, likelihood.nll(z)), 1, number, step)
        moved.append(float(draw.state.z))
        steps += draw.steps
    assert sum(a != float(b) for a, b in zip(moved, grid[torch.searchsorted(cumulative, ranks)], strict=True)) > 500
    exact = lambda w: cumulative[torch.searchsorted(grid, torch.as_tensor(w)).clamp(max=len(grid) - 1)].numpy()
    assert stats.kstest(moved, exact).pvalue > 1e-3
    assert steps > (4000 if step == 0.2 else 2000)


def test_a_path_in_the_prior_turns_after_half_a_circle_and_no_energy_is_lost():
    nothing = Function(lambda z: 0 * z.sum(1))
    for draw in chain(nothing, 50, 0.05, 40):
        assert math.pi / 2 < draw.steps * 0.05 < 2 * math.pi
        assert draw.acceptance == pytest.approx(1, abs=1e-9)


def test_a_path_visits_neighbouring_points_and_none_twice():
    """Without a likelihood the points are z0 cos(i e) + q0 sin(i e): which i were visited is read off them."""
    step, start = 2 * math.pi / 256, torch.tensor([[0.3, -1.2, 0.5]], dtype=torch.float64)
    both = 0
    for number in range(30):
        visited = []
        potential = Function(lambda z, visited=visited: visited.append(z.clone()) or 0 * z.sum(1))
        no_u_turn(potential, State(start, torch.zeros(1).double(), torch.zeros_like(start)), 0, number, step)
        q = torch.randn(start.shape, generator=stream(0, "no u-turn", number), dtype=start.dtype)
        frame = torch.cat([start, q]).T
        cosine, sine = torch.linalg.lstsq(frame, torch.cat(visited).detach().T).solution
        places = (torch.atan2(sine, cosine) / step).round().long().unique()
        walked = sorted({0, *places.tolist()})
        assert walked == list(range(walked[0], walked[-1] + 1))
        assert len(walked) == 1 + sum(1 for z in visited if not z.requires_grad)
        both += walked[0] < 0 < walked[-1]
    assert both > 5  # doubled forwards and backwards


def test_a_step_that_loses_its_energy_ends_the_path_where_it_began():
    steep = Function(lambda z: 1e8 * z.square().sum(1))
    for draw in chain(steep, 5, 1.0, 4):
        assert draw.steps == 1
        assert draw.acceptance == 0
        assert (draw.state.z == 0).all()


def test_a_path_that_never_turns_has_a_thousand_steps():
    assert chain(Function(lambda z: 0 * z.sum(1)), 1, 1e-5, 3)[0].steps == 1023


def test_an_energy_that_is_not_a_number_ends_the_path():
    broken = Function(lambda z: torch.where(z[:, 0] == 0, 0 * z[:, 0], torch.nan))
    draw = chain(broken, 1, 0.1, 2)[0]
    assert (draw.steps, draw.acceptance) == (1, 0)


def test_the_same_seed_draws_the_same_and_another_number_does_not():
    quadratic = Function(lambda z: z.square().sum(1))
    first, again = (chain(quadratic, 6, 0.3, 3, torch.float32) for _ in range(2))
    assert all(torch.equal(a.state.z, b.state.z) for a, b in zip(first, again, strict=True))
    assert len({tuple(d.state.z[0].tolist()) for d in first}) > 3


class Noise:
    """No force, and energies that are noise of many nats, as those of 10^8 nats in float32 are."""

    def nll(self, z):
        return 20 * (1e9 * z.double().sum(1)).sin()

    def gradient(self, z):
        return torch.zeros_like(z)

    def __call__(self, z):
        return self.nll(z), self.gradient(z)


def test_where_energies_are_noise_it_moves_and_one_test_at_the_end_does_not():
    start = torch.full((1, 4), 0.3)
    lowest = State(start, torch.tensor([-20.0], dtype=torch.float64))
    tried = [transition(Noise(), lowest, [0], number, 63, torch.tensor([0.01]).double()) for number in range(200)]
    assert sum(float(t.accepted) for t in tried) < 60
    drawn = [no_u_turn(Noise(), lowest, 0, number, 0.01) for number in range(200)]
    assert sum(not torch.equal(d.state.z, start) for d in drawn) > 180
