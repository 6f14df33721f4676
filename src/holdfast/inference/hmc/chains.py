"""Chains: warm-up and draws of one stack of chains, from checkpoint to checkpoint.

Everything a chain does next depends on its last checkpoint, on its seed and on the number of the trajectory. A run that
was killed and is called again goes on with the same bytes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from holdfast.inference.hmc.checkpoints import Checkpoints, checksum
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.fused_potential import FusedPotential
from holdfast.inference.hmc.kernel import Outcome, Potential, State, transition, with_slope
from holdfast.inference.hmc.mass import Metric, kronecker_inputs
from holdfast.inference.hmc.presets import Plan
from holdfast.inference.hmc.warm_up import GUARD, WarmUp, advance
from holdfast.inference.seeds import stream

Record = dict[str, Any]  # of one trajectory: "accepted", "error", ... a list of one value per chain each


@dataclass
class Run:
    """What a stack of chains has done.

    Attributes:
        draws: positions `[K, d]` after every kept trajectory.
        records: of the kept trajectories.
        warm_up: its records.
        outcome: the warm-up's last state.
        metric: the mass, where there is one.
    """

    draws: list[Tensor] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    warm_up: list[Record] = field(default_factory=list)
    outcome: WarmUp | None = None
    metric: Metric | None = None


def run_chains(
    potential: Potential,
    start: Tensor,
    seeds: Sequence[int],
    seed: int,
    plan: Plan,
    first_step: float,
    checkpoints: Checkpoints,
) -> Iterator[Run]:
    """Run a stack of chains from their starts, or from their checkpoints; yields after every trajectory.

    Args:
        potential: the likelihood in whitened coordinates.
        start: positions `[K, d]`.
        seeds: of each chain.
        seed: of the lengths of the trajectories, which all chains of a run share.
        plan: settings.
        first_step: guess of the step.
        checkpoints: where to write, and to go on from.

    Raises:
        FloatingPointError: the loss at the start is not finite, or trajectories diverge at any step.
        OSError: a checkpoint cannot be written.
    """
    run = Run(outcome=WarmUp(step=first_step, needed=plan.warm_up))
    base = getattr(potential, "coordinates", None)
    state = _resume(run, checkpoints, start, potential, base)
    if not torch.isfinite(state.nll).all():
        raise FloatingPointError(
            f"inference.hmc: the loss at the start is {state.nll.tolist()}; check the images, and lower the learning "
            "rate of the fit in Plan(start=...)."
        )
    while not run.outcome.done:
        number, guard = len(run.warm_up), None if run.outcome.tested_now(plan) else GUARD
        length, step = run.outcome.length(plan), run.outcome.next_step(plan)
        state, record = _go(potential, state, seeds, seed, number, length, step, plan, run.metric, guard)
        run.warm_up.append(record)
        before, run.outcome = run.outcome, advance(run.outcome, plan, run.warm_up)
        if plan.mass == "kron_in" and _mass_is_due(before, run.outcome, plan):
            state = _estimate(run, potential, base, state)
        kept = {"outcome": asdict(run.outcome), "records": run.warm_up}
        mass = run.metric.tensors() if run.metric else {}
        checkpoints.write("warm-up", number, {"z": state.z, "nll": state.nll, **mass}, kept)
        yield run
    step = run.outcome.step
    while len(run.draws) < plan.draws:
        number, before = len(run.draws), checksum(state.z)
        found = checkpoints.read("draw", number, before)
        if found is not None:
            state, record = State(found[0]["z"].to(start.device), found[0]["nll"].to(start.device)), found[1]
        else:
            length = plan.trajectory
            state, record = _go(
                potential, state, seeds, seed, len(run.warm_up) + number, length, step, plan, run.metric, None
            )
            checkpoints.write("draw", number, {"z": state.z, "nll": state.nll}, record | {"before": before})
        run.draws.append(state.z.cpu())
        run.records.append(record)
        yield run


def _go(
    potential: Potential,
    state: State,
    seeds: Sequence[int],
    seed: int,
    number: int,
    length: float,
    step: float,
    plan: Plan,
    metric: Metric | None,
    guard: float | None,
) -> tuple[State, Record]:
    """One trajectory of all chains, and its record."""
    state = with_slope(potential, state)
    share = torch.rand((), generator=stream(seed, "length", number), dtype=torch.float64)
    length *= 1 + plan.jitter * (2 * float(share) - 1)
    steps = max(1, math.ceil(length / step))
    steps_of = torch.full((len(seeds),), min(step, length), dtype=torch.float64, device=state.z.device)
    outcome = transition(
        potential, state, seeds, number, steps, steps_of, speed=metric.speed if metric else None, guard=guard
    )
    return outcome.state, _record(outcome, steps, step)


def _record(outcome: Outcome, steps: int, step: float) -> Record:
    z = outcome.state.z.double()
    return {
        "accepted": outcome.accepted.tolist(),
        "error": outcome.error.tolist(),
        "energy": outcome.energy.tolist(),
        "nll": outcome.state.nll.tolist(),
        "square": z.square().mean(1).tolist(),
        "steps": steps,
        "step": step,
    }


def _mass_is_due(before: WarmUp, after: WarmUp, plan: Plan) -> bool:
    """Twice: after the burn-in, and after three tested trajectories; then it is frozen with the step."""
    return (not before.tested_now(plan) and after.tested_now(plan)) or (before.tested < 3 <= after.tested)


def _estimate(run: Run, potential: FusedPotential, base: Coordinates, state: State) -> State:
    """Estimate the mass where the chains are, and turn the chains into its coordinates."""
    weights = potential.coordinates.parameters(state.z)
    run.metric = kronecker_inputs(potential, base, state.z)
    potential.coordinates = run.metric.coordinates(base)
    z = potential.coordinates.flatten(weights)
    return State(z, potential.nll(z))


def _resume(run: Run, checkpoints: Checkpoints, start: Tensor, potential: Potential, base: Coordinates | None) -> State:
    """Read back what is finished of the warm-up; the state to go on from."""
    found = checkpoints.latest_warm_up()
    if found is None:
        return State(start, potential.nll(start))
    tensors, record = found
    run.warm_up = record["records"]
    run.outcome = WarmUp(**{k: tuple(v) if isinstance(v, list) else v for k, v in record["outcome"].items()})
    run.metric = Metric.from_tensors(tensors, start.device)
    if run.metric is not None:
        potential.coordinates = run.metric.coordinates(base)
    return State(tensors["z"].to(start.device), tensors["nll"].to(start.device))
