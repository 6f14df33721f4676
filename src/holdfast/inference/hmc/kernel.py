"""The kernel: one trajectory and its Metropolis test, for a stack of chains.

    momentum ~ N(0, 1);   trajectory;   accept with probability min(1, exp(H - H'))

The noise of trajectory `i` of a chain comes from a stream of its own, named by the chain's seed and `i`: there is no
random state to save, and a chain that is resumed or put into another stack draws the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from holdfast.inference.hmc.integrator import energy, trajectory
from holdfast.inference.seeds import stream

DIVERGENT = 1000.0  # nats of energy error from which a trajectory counts as divergent


class Potential(Protocol):
    """Minus the log likelihood of a stack of chains, each with data of its own or all with the same."""

    def nll(self, z: Tensor) -> Tensor:
        """Of each chain `[K]`, float64, over the temperature."""
        ...

    def gradient(self, z: Tensor) -> Tensor:
        """Of `nll` by z `[K, d]`; deterministic."""
        ...

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Both."""
        ...


@dataclass(frozen=True)
class State:
    """Where the chains are.

    Attributes:
        z: `[K, d]`.
        nll: `[K]`, float64.
        slope: gradient at z `[K, d]`, or None where it is not known.
    """

    z: Tensor
    nll: Tensor
    slope: Tensor | None = None


@dataclass(frozen=True)
class Outcome:
    """What a trajectory did to each chain; all `[K]`.

    Attributes:
        state: the chains afterwards.
        accepted: whether they moved.
        error: energy at the end less energy at the start, in nats; infinite where it was not finite.
        energy: total energy at the start of the trajectory, in nats.
    """

    state: State
    accepted: Tensor
    error: Tensor
    energy: Tensor

    @property
    def divergent(self) -> Tensor:
        """Which trajectories lost their energy altogether."""
        return ~(self.error.abs() < DIVERGENT)


def transition(
    potential: Potential,
    state: State,
    seeds: Sequence[int],
    number: int,
    steps: int,
    step: Tensor,
    *,
    speed: Tensor | None = None,
    guard: float | None = None,
) -> Outcome:
    """Move every chain by one trajectory.

    Args:
        potential: the likelihood.
        state: where the chains are.
        seeds: of each chain.
        number: of the trajectory, counted from the start of the chain.
        steps: leapfrog steps, the same for all chains.
        step: length of a step for each chain `[K]`.
        speed: see `integrator.trajectory`.
        guard: None for the Metropolis test; a number to accept without it whatever gains less energy than that, which
            only the first trajectories of a warm-up may do.
    """
    z = state.z
    momentum = torch.empty_like(z)
    chance = torch.empty(len(z), dtype=torch.float64)
    for k, seed in enumerate(seeds):
        source = stream(seed, "trajectory", number)
        momentum[k] = torch.randn(z.shape[1], generator=source, dtype=z.dtype).to(z.device)
        chance[k] = torch.rand((), generator=source, dtype=torch.float64)
    before = energy(state.nll, z, momentum)
    end = trajectory(potential.gradient, z, momentum, steps, step, speed=speed, slope=state.slope)
    nll = potential.nll(end.z)
    error = energy(nll, end.z, end.momentum) - before
    error = torch.where(torch.isfinite(error), error, torch.inf)
    if guard is None:
        accepted = chance.to(z.device).log() < -error
    else:
        accepted = error < guard
    moved = State(
        torch.where(accepted[:, None], end.z, z),
        torch.where(accepted, nll, state.nll),
        None if state.slope is None else torch.where(accepted[:, None], end.slope, state.slope),
    )
    return Outcome(moved, accepted, error, before)


def with_slope(potential: Potential, state: State) -> State:
    """The same state with its gradient, which saves each trajectory its first."""
    return state if state.slope is not None else replace(state, slope=potential.gradient(state.z))
