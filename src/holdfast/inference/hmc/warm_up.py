"""Warm-up: from the fits to where the posterior's mass is, while the step finds its size; then the step is frozen.

Burn-in: a few trajectories of growing length at half the step, accepted without a test unless their energy error
reaches 50 nats; at a maximum of the posterior nothing would ever be accepted at the step that suits its bulk.
Tested: the energy error grows as the square of the step and shows after a handful of trajectories, so after every three
the step is multiplied by

    (target / rms error at this step)^(1/2),   within 0.5 and 1.6

with the error taken over the later half of the tested trajectories, the last three at least. The square is a law of
small steps: where the likelihood is sharp, trajectories are lost from one step on. So the step stays below 0.8 of any
step that failed among these trajectories, and what is frozen is a step that has been tried, never a longer one.
Chains in a stack share their step: its error is theirs pooled. Six refusals in a row halve the step and begin the
burn-in again from there, eight times at most; of K chains it takes log2 K refusals more, for with many of them one is
always in the middle of a bad run. The chains count as settled once neither the mean square of z nor the likelihood of
any shows a trend; until then the warm-up goes on, to three times its planned length.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean, median
from typing import Any

from holdfast.inference.hmc.presets import Plan

GUARD = 50.0  # nats: untested trajectories with a larger error are refused
WORST = 3.2  # nats: a worse trajectory counts as this much, it is refused all the same; three of them halve the step
BELOW = 0.8  # of a step at which half of the chains had such an error
REFUSALS = 6
RESTARTS = 8
DRIFT = 0.02  # of the mean square of z, between two halves of the last trajectories
FEWEST, LAST = 6, 10  # trajectories that are looked at to see whether the chains have settled
TREND = 2.0  # standard errors of Kendall's test, see `of_several`


@dataclass(frozen=True)
class WarmUp:
    """Where the warm-up is. Everything in it can be written as JSON.

    Attributes:
        step: present step.
        stage: how many burn-in trajectories are behind; beyond the last, trajectories are tested.
        tested: how many tested trajectories are behind, since the last burn-in.
        needed: how many there shall be.
        errors: of the tested trajectories since the last burn-in, over the squares of their steps.
        refusals: in a row, of each chain.
        notes: what happened, in sentences.
        done: whether the step is frozen.
        settled: whether the chains had settled by then.
    """

    step: float
    needed: int
    stage: int = 0
    tested: int = 0
    errors: tuple[float, ...] = ()
    refusals: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    restarts: int = 0
    done: bool = False
    settled: bool = False

    def length(self, plan: Plan) -> float:
        """How long the next trajectory shall be, before jitter."""
        return plan.trajectory if self.tested_now(plan) else plan.burn_in[self.stage]

    def next_step(self, plan: Plan) -> float:
        """The step to take in it."""
        return self.step if self.tested_now(plan) else 0.5 * self.step

    def tested_now(self, plan: Plan) -> bool:
        """Whether the next trajectory has a Metropolis test."""
        return self.stage >= len(plan.burn_in)


def advance(state: WarmUp, plan: Plan, records: Sequence[Mapping[str, Any]]) -> WarmUp:
    """The state after one more trajectory.

    Args:
        state: before it.
        plan: settings.
        records: of all trajectories so far, the new one last: "accepted", "error", "nll", "square", a list of one
            value per chain each, and its "step".
    """
    last = records[-1]
    if not state.tested_now(plan):
        return _after_burn_in(state, last)
    errors = state.errors + tuple(min(abs(e), WORST) / state.step**2 for e in last["error"])
    before = state.refusals or (0,) * len(last["accepted"])
    refusals = tuple(0 if moved else n + 1 for moved, n in zip(last["accepted"], before, strict=True))
    state = replace(state, tested=state.tested + 1, errors=errors, refusals=refusals)
    if state.restarts < RESTARTS and max(refusals) >= REFUSALS + math.log2(len(refusals)):
        return _restart(state, len(records), max(refusals))
    if state.tested % 3 == 0 or state.tested >= state.needed:
        recent = max(3, state.tested // 2)
        rms = math.sqrt(fmean(e * e for e in errors[-recent * len(refusals) :])) * state.step**2  # at the present step
        factor = min(1.6, max(0.5, math.sqrt(plan.error / max(rms, 1e-9))))
        failed = [r["step"] for r in records[-recent:] if median(map(abs, r["error"])) > WORST]
        state = replace(state, step=min(1.5, state.step * factor, BELOW * min(failed, default=math.inf)))
    return _finish(state, plan, records) if state.tested >= state.needed else state


def _after_burn_in(state: WarmUp, last: Mapping[str, Any]) -> WarmUp:
    error = max(abs(e) for e in last["error"])
    if not all(last["accepted"]):
        return _smaller(state)
    factor = min(1.0, max(0.5, math.sqrt(1.0 / max(error, 1e-9))))  # at the full step the error is four times this
    return replace(state, stage=state.stage + 1, step=state.step * factor)


def _smaller(state: WarmUp) -> WarmUp:
    if state.step < 1e-8:
        raise FloatingPointError(
            "inference.hmc: trajectories diverge even with a step of 1e-8; check the images for extreme values and the "
            "prior for weights far too wide."
        )
    return replace(state, step=0.5 * state.step)


def _restart(state: WarmUp, number: int, refusals: int) -> WarmUp:
    note = f"{refusals} refusals in a row by trajectory {number}: step halved to {state.step / 2:.3g}, burn-in again."
    state = replace(_smaller(state), errors=(), refusals=(), restarts=state.restarts + 1, tested=0)
    return replace(state, notes=(*state.notes, note), stage=0)


def _finish(state: WarmUp, plan: Plan, records: Sequence[Mapping[str, Any]]) -> WarmUp:
    settled = settled_by(records[-min(LAST, state.tested) :])
    if settled or state.needed >= 3 * plan.warm_up:
        return replace(state, done=True, settled=settled, step=min(state.step, records[-1]["step"]))
    return replace(state, needed=state.needed + max(1, plan.warm_up // 3))


def settled_by(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether, over some trajectories, neither the mean square of z nor the likelihood of any chain drifts."""
    if len(records) < FEWEST:
        return False
    half, chains = len(records) // 2, len(records[0]["nll"])
    limit = of_several(TREND, chains)
    for k in range(chains):
        squares, nlls = ([r[name][k] for r in records] for name in ("square", "nll"))
        if abs(fmean(squares[half:]) - fmean(squares[:half])) > DRIFT and abs(trend(squares)) > limit:
            return False
        if abs(trend(nlls)) > limit:
            return False
    return True


def trend(values: Sequence[float]) -> float:
    """Kendall's trend test (Mann 1945): how many standard errors the count of rises exceeds that of falls.

    >>> round(trend([1, 2, 3, 4, 5, 6]), 1), round(trend([1, 3, 2, 3, 1, 2]), 1)
    (2.8, 0.0)
    """
    count = len(values)
    rises = sum((b > a) - (b < a) for i, a in enumerate(values) for b in values[i + 1 :])
    return rises / math.sqrt(count * (count - 1) * (2 * count + 5) / 18) if count > 1 else 0.0


def of_several(errors: float, chains: int) -> float:
    """The limit, in standard errors, that none of several chains without a trend exceeds as often as one does `errors`.

    >>> round(of_several(2.0, 1), 2), round(of_several(2.0, 64), 2)
    (2.0, 3.39)
    """
    return -NormalDist().inv_cdf(NormalDist().cdf(-errors) / chains)
