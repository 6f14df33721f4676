"""The no-U-turn sampler: a path that is doubled until it turns back (Hoffman and Gelman 2014).

    momentum q ~ N(0, 1), H0 the energy at the start
    double the path, forwards or backwards in time at random, up to 1,023 steps, until it, or a half of a doubling at
    any level, turns:   q_first . s <= 0   or   q_last . s <= 0,   s = sum of q along it - (q_first + q_last) / 2
    the draw: a point of the path with probability exp(H0 - H), favouring the last doubling (Betancourt 2017, A.3)

A doubling that turned inside, or lost its energy (H - H0 > 1000), ends the path and gives no point. Unlike one
trajectory with a test at its end, it moves where energies are noise: any other point of about as low an energy will do.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.inference.hmc.integrator import energy, trajectory
from holdfast.inference.hmc.kernel import DIVERGENT, Potential, State, with_slope
from holdfast.inference.seeds import stream

DOUBLINGS = 10


@dataclass(frozen=True)
class Point:
    """Where one chain is in phase space, `[1, d]` each."""

    state: State
    momentum: Tensor


@dataclass(frozen=True)
class Path:
    """Points in the order of time.

    Attributes:
        first, last: its ends.
        picked: the point drawn of it.
        weight: log of the sum of exp(H0 - H).
        momentum: sum along it `[1, d]`.
        ended: whether it turned or lost its energy.
        acceptance: sum of min(1, exp(H0 - H)).
        steps: how many points were stepped to, those of paths that were thrown away included.
    """

    first: Point
    last: Point
    picked: Point
    weight: float
    momentum: Tensor
    ended: bool
    acceptance: float
    steps: int


@dataclass(frozen=True)
class Draw:
    """Where the chain went, the mean chance of acceptance along the path, and the steps that it took."""

    state: State
    acceptance: float
    steps: int


def no_u_turn(potential: Potential, state: State, seed: int, number: int, step: float) -> Draw:
    """Move one chain.

    Args:
        potential: the likelihood; the prior is N(0, 1).
        state: where the chain is, `[1, d]`.
        seed: of the chain.
        number: of the draw, counted from the start of the chain.
        step: length of a step, in prior standard deviations.

    Returns:
        Where the chain is afterwards: at the start again where every step lost its energy or was not finite.

    >>> from holdfast.inference.hmc.coordinates import Coordinates
    >>> from holdfast.inference.hmc.potential import potential
    >>> network, places = torch.nn.Linear(2, 2, bias=False), Coordinates({"weight": (2, 2)}, {"weight": 1.0})
    >>> likelihood, z = potential(network, places, torch.eye(2)[None], torch.tensor([[0, 1]])), torch.zeros(1, 4)
    >>> draw = no_u_turn(likelihood, State(z, likelihood.nll(z)), seed=0, number=0, step=0.1)
    >>> draw.state.z.shape, 1 <= draw.steps <= 1023
    (torch.Size([1, 4]), True)
    """
    source = stream(seed, "no u-turn", number)
    momentum = torch.randn(state.z.shape, generator=source, dtype=state.z.dtype)
    start = float(energy(state.nll, state.z, momentum))
    walk = _Walk(potential, start, step, source)
    point = Point(with_slope(potential, state), momentum)
    path = Path(point, point, point, 0.0, momentum, False, 0.0, 0)
    for doubling in range(DOUBLINGS):
        path = walk.double(path, doubling)
        if path.ended:
            break
    return Draw(path.picked.state, path.acceptance / path.steps, path.steps)


@dataclass(frozen=True)
class _Walk:
    potential: Potential
    start: float
    step: float
    source: torch.Generator

    def double(self, path: Path, doubling: int) -> Path:
        """As many points again, on one side; the draw moves there with probability min(1, its weight over ours)."""
        onwards = self._chance() < 0.5
        more = self._grow(path.last if onwards else path.first, doubling, onwards)
        if more.ended:
            return _replaced(path, more)
        moves = self._chance() < math.exp(min(0.0, more.weight - path.weight))
        pair = (path, more) if onwards else (more, path)
        return _joined(*pair, (more if moves else path).picked)

    def _grow(self, end: Point, doubling: int, onwards: bool) -> Path:
        """A path of 2^doubling points from an end, which is not among them."""
        if doubling == 0:
            return self._one(end, onwards)
        near = self._grow(end, doubling - 1, onwards)
        if near.ended:
            return near
        far = self._grow(near.last if onwards else near.first, doubling - 1, onwards)
        if far.ended:
            return _replaced(near, far)
        share = 1 / (1 + math.exp(min(700.0, near.weight - far.weight)))
        picked = (far if self._chance() < share else near).picked
        return _joined(*((near, far) if onwards else (far, near)), picked)

    def _one(self, end: Point, onwards: bool) -> Path:
        size = torch.tensor([self.step if onwards else -self.step], dtype=torch.float64)
        moved = trajectory(self.potential.gradient, end.state.z, end.momentum, 1, size, slope=end.state.slope)
        nll = self.potential.nll(moved.z)
        error = float(energy(nll, moved.z, moved.momentum)) - self.start
        error = error if math.isfinite(error) else math.inf
        point = Point(State(moved.z, nll, moved.slope), moved.momentum)
        chance = math.exp(min(0.0, -error))
        return Path(point, point, point, -error, moved.momentum, error > DIVERGENT, chance, 1)

    def _chance(self) -> float:
        return float(torch.rand((), generator=self.source, dtype=torch.float64))


def _joined(earlier: Path, later: Path, picked: Point) -> Path:
    first, last, total = earlier.first, later.last, earlier.momentum + later.momentum
    between = total - (first.momentum + last.momentum) / 2
    turned = any(float((end.momentum * between).double().sum()) <= 0 for end in (first, last))
    low, high = sorted((earlier.weight, later.weight))
    weight = high + math.log1p(math.exp(low - high))
    acceptance, steps = earlier.acceptance + later.acceptance, earlier.steps + later.steps
    return Path(first, last, picked, weight, total, turned, acceptance, steps)


def _replaced(path: Path, thrown_away: Path) -> Path:
    """The path as it was, ended, with the steps of the part that gives no point."""
    acceptance, steps = path.acceptance + thrown_away.acceptance, path.steps + thrown_away.steps
    return Path(path.first, path.last, path.picked, path.weight, path.momentum, True, acceptance, steps)
