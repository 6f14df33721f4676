"""Warm-up: the step follows the energy errors, stuck chains begin again, drifting chains wait."""

import math

import pytest
import torch
from scipy import stats

from holdfast.inference.hmc.presets import PRESETS, Plan, plan_of
from holdfast.inference.hmc.warm_up import GUARD, REFUSALS, RESTARTS, WarmUp, advance, settled_by, trend

PLAN = Plan(burn_in=(0.3, 0.6), warm_up=9)


def record(error=0.1, accepted=True, nll=100.0, square=1.0, step=0.01):
    return {"error": [error], "accepted": [accepted], "nll": [nll], "square": [square], "step": step}


def walk(state, plan, records):
    seen = []
    for r in records:
        seen.append(r)
        state = advance(state, plan, seen)
    return state


def under_test(**changes):
    return WarmUp(**{"step": 0.01, "needed": 9, "stage": 2, **changes})


def test_burn_in_takes_half_steps_of_growing_length_without_a_test():
    state = WarmUp(step=0.01, needed=9)
    assert not state.tested_now(PLAN)
    assert (state.length(PLAN), state.next_step(PLAN)) == (0.3, 0.005)
    state = advance(state, PLAN, [record()])
    assert (state.length(PLAN), state.next_step(PLAN)) == (0.6, 0.005)
    state = advance(state, PLAN, [record()] * 2)
    assert state.tested_now(PLAN)
    assert (state.length(PLAN), state.next_step(PLAN)) == (PLAN.trajectory, 0.01)


def test_a_refused_burn_in_is_taken_again_with_half_the_step():
    state = advance(WarmUp(step=0.01, needed=9), PLAN, [record(GUARD + 1, accepted=False)])
    assert (state.stage, state.step) == (0, 0.005)


def test_a_large_error_in_the_burn_in_makes_the_step_smaller():
    assert advance(WarmUp(step=0.01, needed=9), PLAN, [record(2.0)]).step == pytest.approx(0.01 / math.sqrt(2))
    assert advance(WarmUp(step=0.01, needed=9), PLAN, [record(0.1)]).step == 0.01


@pytest.mark.parametrize(
    ("errors", "factor"),
    [
        ((1.6, -1.6, 1.6), math.sqrt(0.5)),
        ((0.5, -0.5, 0.5), math.sqrt(1.6)),
        ((0.001, 0.0, 0.0), 1.6),
        ((100.0, 5.0, math.inf), 0.5),
    ],
)
def test_step_follows_the_errors_of_three_trajectories(errors, factor):
    state = walk(under_test(), PLAN, [record(e) for e in errors[:2]])
    assert state.step == 0.01
    assert walk(under_test(), PLAN, [record(e) for e in errors]).step == pytest.approx(0.01 * factor)


def test_the_step_ends_where_errors_are_as_wanted():
    # errors that grow as the square of the step: 0.8 nats at 0.02
    state, seen = under_test(step=0.003, needed=24), []
    while not state.done:
        seen.append(record(0.8 * (state.step / 0.02) ** 2, step=state.step))
        state = advance(state, PLAN, seen)
    assert state.step == pytest.approx(0.02, rel=0.01)
    assert state.settled


def test_the_step_stays_below_where_trajectories_are_lost():
    # next to no error up to 0.03, everything lost from there on, as at the limit of stability of a sharp likelihood
    state, seen = under_test(step=0.02, needed=24), []
    while not state.done:
        lost = state.step > 0.03
        seen.append(record(math.inf if lost else 0.05, accepted=not lost, step=state.step))
        state = advance(state, PLAN, seen)
    assert max(r["step"] for r in seen) > 0.03
    assert 0.015 < state.step <= 0.03


def test_the_frozen_step_has_been_tried():
    state = walk(under_test(needed=3), Plan(burn_in=(0.3, 0.6), warm_up=1), [record(0.01)] * 3)
    assert (state.done, state.step) == (True, 0.01)


def test_six_refusals_in_a_row_begin_again():
    state = walk(under_test(refusals=(0,)), PLAN, [record(0.9, accepted=False)] * (REFUSALS - 1))
    assert state.stage == 2
    before = state.step
    state = advance(state, PLAN, [record(0.9, accepted=False)] * REFUSALS)
    assert (state.stage, state.tested, state.step) == (0, 0, before / 2)
    assert "6 refusals in a row" in state.notes[0]


def test_refusals_with_moves_between_do_not():
    records = [record(accepted=n % 3 == 0) for n in range(8)]
    assert walk(under_test(refusals=(0,)), PLAN, records).notes == ()


def test_one_stuck_chain_of_a_stack_is_enough():
    pair = {"error": [0.1, 0.9], "accepted": [True, False], "nll": [1.0, 1.0], "square": [1.0, 1.0]}
    assert not walk(under_test(), PLAN, [pair] * REFUSALS).notes  # of two chains it takes one refusal more
    assert "7 refusals in a row" in walk(under_test(), PLAN, [pair] * (REFUSALS + 1)).notes[0]


def test_the_warm_up_ends_also_where_one_chain_of_many_stays_stuck():
    stuck = {
        "error": [0.5, 0.5, 0.5, 9.0],
        "accepted": [True] * 3 + [False],
        "nll": [1.0] * 4,
        "square": [1.0] * 4,
        "step": 1,
    }
    untested = stuck | {"error": [0.5] * 4, "accepted": [True] * 4}
    state, seen = WarmUp(step=0.01, needed=PLAN.warm_up), []
    while not state.done:
        seen.append(stuck if state.tested_now(PLAN) else untested)
        state = advance(state, PLAN, seen)
        assert len(seen) < 400
    assert state.restarts == len(state.notes) == RESTARTS


def test_many_chains_without_a_trend_have_settled_as_often_as_one():
    generator = torch.Generator().manual_seed(0)
    shares = {}
    for chains in (1, 64):
        found = []
        for _ in range(200):
            nlls = torch.randn(10, chains, generator=generator)
            found.append(settled_by([{"nll": row, "square": [1.0] * chains} for row in nlls.tolist()]))
        shares[chains] = sum(found) / len(found)
    assert shares[1] > 0.9
    assert shares[64] > 0.9


def test_diverging_at_any_step_is_an_error():
    state = WarmUp(step=0.01, needed=9)
    with pytest.raises(FloatingPointError, match="trajectories diverge even with a step of 1e-8; check the images"):
        walk(state, PLAN, [record(math.inf, accepted=False)] * 40)


@pytest.mark.parametrize(
    "drifting", [[record(nll=100 + 10 * n) for n in range(6)], [record(square=1 - 0.05 * n) for n in range(6)]]
)
def test_drifting_chains_have_not_settled(drifting):
    assert not settled_by(drifting)
    state = walk(under_test(needed=6), Plan(burn_in=(0.3, 0.6), warm_up=6), drifting)
    assert (state.done, state.needed) == (False, 8)
    state = walk(under_test(needed=18, tested=17), Plan(burn_in=(0.3, 0.6), warm_up=6), drifting)
    assert (state.done, state.settled) == (True, False)


def test_fluctuating_chains_have():
    noise = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)).tolist()
    found = [settled_by([record(nll=100 + 5 * e, square=1 + 0.005 * e) for e in row]) for row in noise]
    assert 0.9 < sum(found) / 200 < 1.0  # two standard errors
    assert not settled_by([record()] * 5)  # too few to say


def test_trend_is_kendalls():
    values = torch.randn(30, generator=torch.Generator().manual_seed(0)).tolist()
    tau = stats.kendalltau(range(30), values).statistic
    assert trend(values) == pytest.approx(tau * 30 * 29 / 2 / math.sqrt(30 * 29 * 65 / 18))


def test_plans():
    assert plan_of("call", "cpu-hour") is PRESETS["cpu-hour"]
    assert Plan().first_step(5000) == pytest.approx(0.008)
    assert Plan().first_step(20000) == pytest.approx(0.004)
    assert Plan(step=0.02).first_step(20000) == 0.02
    with pytest.raises(ValueError, match=r"call: preset must be 'smoke', .* or a Plan\(...\), got 'fast'"):
        plan_of("call", "fast")
    with pytest.raises(ValueError, match=r"hmc.Plan: draws must be a whole number of at least 1, got 0"):
        Plan(draws=0)
    with pytest.raises(ValueError, match=r"hmc.Plan: trajectory must lie in \(0, "):
        Plan(trajectory=0.0)
    with pytest.raises(ValueError, match=r"hmc.Plan: mass must be 'prior' or 'kron_in', got 'dense'"):
        Plan(mass="dense")


def test_the_step_is_tried_under_the_mass_that_is_frozen():
    with pytest.raises(ValueError, match=r"hmc.Plan: mass='kron_in' needs a warm_up of at least 2 trajectories, got 1"):
        Plan(mass="kron_in", warm_up=1)
    assert Plan(mass="prior", warm_up=1).warm_up == 1
