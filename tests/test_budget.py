"""Balls and boxes against slow references: bisection, linear programmes, and the definition of a projection."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from holdfast.budget import Budget

NORMS = ["linf", "l2", "l1"]


def images(seed, count=5, shape=(2, 3, 2), dtype=torch.float64):
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return (1.6 * x - 0.3).clamp(0, 1)  # many pixels at the ends of the range, as in real images


def directions(x, seed):
    d = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    d.flatten(1)[:, 0] = 0
    return d


def radii(norm, count=5):
    return torch.linspace(0.05, 0.4, count).double() * {"linf": 1, "l2": 2, "l1": 5}[norm]


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10_000), push=st.floats(0.01, 10))
@settings(max_examples=30, deadline=None)
def test_every_point_offered_keeps_the_budget(norm, seed, push):
    for dtype in (torch.float32, torch.float64):
        budget = Budget(norm, 0.1, lower=(0.0, -0.1), upper=(1.0, 1.3))
        x, radius = images(seed, dtype=dtype), radii(norm).to(dtype)
        d = directions(x, seed)
        generator = torch.Generator().manual_seed(seed)
        offered = [budget.project(x + push * d, x, radius), budget.linear_optimum(x, d, radius)]
        offered.append(budget.random(x, radius, generator))
        for moved in offered:
            budget.assert_kept(moved, x, radius)
            assert moved.dtype == dtype


@pytest.mark.parametrize("norm", NORMS)
def test_projection_leaves_points_of_the_budget_alone(norm):
    budget, x, radius = Budget(norm, 0.1), images(1), radii(norm)
    inside = budget.project(x + 0.9 * budget.random(x, radius, torch.Generator()) - 0.9 * x, x, radius)
    torch.testing.assert_close(budget.project(inside, x, radius), inside, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_projection_is_the_nearest_point(norm):
    # p is the projection of u onto a convex set exactly if <u - p, q - p> <= 0 for every q in the set
    budget, x, radius = Budget(norm, 0.1), images(2), radii(norm)
    moved = x + directions(x, 3)
    nearest = budget.project(moved, x, radius)
    generator = torch.Generator().manual_seed(4)
    others = [budget.random(x, radius, generator) for _ in range(100)]
    others += [budget.linear_optimum(x, directions(x, seed), radius) for seed in range(100)]
    others += [budget.linear_optimum(x, moved - nearest, radius)]  # the worst of all
    for other in others:
        assert ((moved - nearest) * (other - nearest)).flatten(1).sum(1).max() < 1e-10


def test_projection_onto_l2_reaches_the_sphere():
    budget, x = Budget("l2", 0.1), torch.full((3, 4), 0.5).double()
    moved = budget.project(x + 10 * torch.eye(3, 4).double(), x, torch.full((3,), 0.2).double())
    torch.testing.assert_close(budget.size(moved, x), torch.full((3,), 0.2).double())


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_linear_optimum_against_a_linear_programme(norm):
    budget, x, radius = Budget(norm, 0.1), images(5), radii(norm)
    d = directions(x, 6)
    moved = budget.linear_optimum(x, d, radius)
    for i in range(len(x)):
        flat, cost = x[i].flatten(), -d[i].flatten()
        size = len(flat)
        if norm == "linf":
            bounds = [(max(-r, -v), min(r, 1 - v)) for v in flat.tolist() for r in [radius[i].item()]]
            best = linprog(cost.numpy(), bounds=bounds).fun
        else:  # d = up - down with both at least zero
            bounds = [(0, 1 - v) for v in flat.tolist()] + [(0, v) for v in flat.tolist()]
            both = torch.cat([cost, -cost]).numpy()
            best = linprog(both, A_ub=[[1.0] * (2 * size)], b_ub=[radius[i].item()], bounds=bounds).fun
        assert ((moved[i] - x[i]).flatten() @ d[i].flatten()).item() == pytest.approx(-best, abs=1e-9)


@given(seed=st.integers(0, 10_000), r=st.floats(0.01, 3))
@settings(max_examples=40, deadline=None)
def test_linear_optimum_in_l2_against_bisection(seed, r):
    budget, x = Budget("l2", r), images(seed, count=1)
    d = directions(x, seed)
    low, high = 0.0, 1e9
    for _ in range(200):  # |clip(x + t d) - x| rises with t
        t = (low + high) / 2
        short = ((x + t * d).clamp(0, 1) - x).norm() < r
        low, high = (t, high) if short else (low, t)
    moved = budget.linear_optimum(x, d, torch.tensor([r], dtype=x.dtype))
    torch.testing.assert_close(moved, (x + low * d).clamp(0, 1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_linear_optimum_with_nothing_to_climb_stays(norm):
    x = images(7)
    assert torch.equal(Budget(norm, 0.1).linear_optimum(x, torch.zeros_like(x), radii(norm)), x)


@pytest.mark.parametrize("norm", NORMS)
def test_steepest_is_of_unit_size_and_survives_tiny_gradients(norm):
    budget, zero = Budget(norm, 0.1), torch.zeros(4, 3, 5)
    g = directions(zero, 8)
    for scale in (1.0, 1e-30, 1e30):
        torch.testing.assert_close(budget.size(budget.steepest(g * scale), zero), torch.ones(4))
    assert torch.equal(budget.steepest(zero), zero)
    if norm == "l1":
        assert (budget.steepest(g) != 0).flatten(1).sum(1).tolist() == [1] * 4  # 5 % of 15 pixels


def test_sparse_steps_take_the_largest_entries():
    g = torch.tensor([[3.0, -2.0, 1.0, 0.0], [0.0, 0.0, 0.0, -1.0]])
    step = Budget("l1", 1).sparse(g, torch.tensor([2, 3]))
    assert step.tolist() == [[0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0]]


def test_free_drops_only_what_cannot_move():
    moved, g = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.5]]), torch.tensor([[-1.0, 1.0, -1.0, 1.0, 1.0]])
    assert Budget("l2", 1).free(g, moved).tolist() == [[0.0, 1.0, -1.0, 0.0, 1.0]]


@pytest.mark.parametrize("norm", NORMS)
def test_random_points_fill_the_ball(norm):
    # without the box the share of a ball's volume within half the radius is 2^-D
    budget = Budget(norm, 1.0, lower=-10, upper=10)
    x = torch.zeros(20_000, 3).double()
    size = budget.size(budget.random(x, torch.ones(len(x)).double(), torch.Generator().manual_seed(0)), x)
    assert (size <= 0.5).double().mean().item() == pytest.approx(1 / 8, abs=4 * math.sqrt(1 / 8 * 7 / 8 / len(x)))


def test_sizes():
    moved, x = torch.tensor([[3.0, -4.0]]), torch.zeros(1, 2)
    assert [Budget(n, 1).size(moved, x).item() for n in NORMS] == [4, 5, 7]


@pytest.mark.parametrize("norm", NORMS)
def test_assert_kept_sees_each_kind_of_break(norm):
    budget, x = Budget(norm, 0.1), torch.full((2, 4), 0.5)
    radius = torch.full((2,), 0.1)
    budget.assert_kept(x, x, radius)
    far = x + torch.tensor([0.11, 0, 0, 0])
    with pytest.raises(AssertionError, match=f"2 images beyond their {norm} radius, 0 outside"):
        budget.assert_kept(far, x, radius)
    edge = torch.ones(2, 4)
    with pytest.raises(AssertionError, match=r"0 images beyond .* 2 outside the pixel range"):
        budget.assert_kept(edge + 1e-3, edge, radius)
    with pytest.raises(AssertionError, match="1 values not finite"):
        budget.assert_kept(x.clone().index_fill_(0, torch.tensor([0]), math.nan)[:, :1], x[:, :1], radius)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(norm="l3", epsilons=0.1), "norm must be 'linf', 'l2' or 'l1', got 'l3'"),
        (dict(norm="linf", epsilons=-0.1), r"every radius must be a positive number, got -0\.1"),
        (dict(norm="linf", epsilons=[0.1, math.nan]), r"positive number, got \[0\.1, nan\]"),
        (dict(norm="linf", epsilons=math.inf), "positive number, got inf"),
        (dict(norm="linf", epsilons=[]), "positive number"),
        (dict(norm="linf", epsilons=None), "positive number, got None"),
        (dict(norm="linf", epsilons=True), "positive number, got True"),
        (dict(norm="linf", epsilons="8/255"), "positive number, got '8/255'"),
        (dict(norm="linf", epsilons=0.1, lower=1.0), "lower must be below upper"),
        (dict(norm="linf", epsilons=0.1, lower=(0, 0), upper=(1, 1, 1)), "name 2 and 3 channels"),
    ],
)
def test_bad_budgets(settings, message):
    with pytest.raises(ValueError, match=message):
        Budget(**settings)


def test_radii_that_do_not_fit_the_images():
    x = torch.rand(2, 3, 4)
    with pytest.raises(ValueError, match=r"pgd: a radius of 8 reaches beyond .* write 8 / 255"):
        Budget("linf", [0.1, 8]).check_inside("pgd", x)
    with pytest.raises(ValueError, match=r"a radius of 4 reaches beyond .* no image is farther than 3.464 in l2"):
        Budget("l2", 4).check_inside("pgd", x)
    with pytest.raises(ValueError, match=r"a radius of 1e-09 cannot move a pixel of torch.float32 images"):
        Budget("linf", 1e-9).check_inside("pgd", x)
    Budget("linf", 1e-9).check_inside("pgd", x.double())
    Budget("l1", 12).check_inside("pgd", x)
    with pytest.raises(ValueError, match=r"images must lie in the pixel range 0\.0 to 1\.0, got values from"):
        Budget("linf", 0.1).check_inside("pgd", 255 * x)
    with pytest.raises(ValueError, match="2 channel bounds for images of 3 channels"):
        Budget("linf", 0.1, upper=(1, 1)).check_inside("pgd", x)


@pytest.mark.parametrize("epsilons", [torch.tensor([0.25, 0.5]), torch.tensor([0.25, 0.5]).numpy(), (0.25, 0.5)])
def test_radii_from_a_tensor_or_an_array(epsilons):
    assert Budget("linf", epsilons) == Budget("linf", [0.25, 0.5])
    assert Budget("linf", epsilons[0]).epsilons == (0.25,)


@pytest.mark.parametrize("epsilons", [torch.tensor([0.25, 0.5]), torch.tensor([0.25, 0.5]).numpy()])
def test_radii_from_a_list_of_their_elements(epsilons):
    assert Budget("linf", list(epsilons)).epsilons == (0.25, 0.5)


@pytest.mark.parametrize(("name", "bound"), [("lower", None), ("upper", "a"), ("upper", [1, None])])
def test_bounds_that_are_no_numbers(name, bound):
    with pytest.raises(TypeError, match=f"Budget: {name} must be a number, or one per channel, got"):
        Budget("linf", 0.1, **{name: bound})


def test_points_on_the_border_of_the_l1_ball_stay_where_they_are():
    g = torch.Generator().manual_seed(0)
    x = torch.full((200, 3072), 0.5)
    budget = Budget("l1", 30.0)
    radius = torch.full((200,), 30.0)
    moved = budget.project(x + 0.2 * torch.randn(x.shape, generator=g), x, radius)
    again = budget.project(moved, x, radius)
    assert ((again - x).abs().double().sum(1) <= 30 * (1 + 1e-5)).all()
    torch.testing.assert_close(again, moved, rtol=0, atol=1e-5)
