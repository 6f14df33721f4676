"""Carlini-Wagner: the smallest l2 perturbation by unconstrained optimisation (2017, arXiv 1608.04644).

    minimise  |x'(w) - x|_2^2 + c max(0, k - m(x'(w))),   x'(w) = lower + (upper - lower) (tanh w + 1) / 2

`m` is the margin (positive on misclassified images) and `k` the confidence asked for. The change of variable keeps the
pixels valid. Adam finds w; the constant c of each image is searched by bisection: raised tenfold until the attack
succeeds, then as small as it still does.
"""

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.minimal_norm import cut, unbounded
from holdfast.attacks.objectives import ObjectiveFunction, name_of
from holdfast.attacks.search import Search, check_kinds
from holdfast.budget import Budget
from holdfast.checks import check_count, check_range
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.tiles import MEMORY

INSIDE = 1 - 1e-6  # tanh reaches the ends of the range only at infinity


def carlini_wagner(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    objective: str | ObjectiveFunction = "margin",
    steps: int = 200,
    binary_search_steps: int = 9,
    step_size: float = 0.01,
    initial_const: float = 1e-3,
    confidence: float = 0.0,
    targeted: bool = False,
    memory: int = MEMORY,
) -> Attacked:
    """Attack by the l2 method of Carlini and Wagner.

    Args:
        ensemble: what to attack; one image is made against all its draws together.
        x: images `[B, *image]` within the budget's pixel range.
        y: labels `[B]` to move away from; with `targeted`, the classes to reach.
        budget: an l2 budget. The search is not bound by the radii: what it finds is cut to each of them at the end.
        objective: whose value the term `m` is; the margin unless there is a reason.
        steps: Adam steps for each constant.
        binary_search_steps: how many constants are tried per image.
        step_size: Adam's step size.
        initial_const: the first constant.
        confidence: by how much the objective must pass zero.
        targeted: lower the objective at `y` instead of raising it.
        memory: budget in bytes for the work of one moment.

    Returns:
        Per input and radius the smallest perturbation found, where it fits into the radius; elsewhere a failure.

    >>> network = torch.nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> x, y = torch.tensor([[.7, .5]]), torch.tensor([0])
    >>> result = carlini_wagner(Ensemble.from_networks(network), x, y, budget=Budget("l2", .15), steps=50)
    >>> result.success.tolist()
    [[True]]
    """
    check_kinds("carlini_wagner", ensemble, budget)
    if budget.norm != "l2":
        raise ValueError(f"carlini_wagner: the budget must be l2, got {budget.norm}; use minimal_norm for other norms.")
    check_count("carlini_wagner", "steps", steps)
    check_count("carlini_wagner", "binary_search_steps", binary_search_steps)
    check_range("carlini_wagner", "step_size", step_size, 0, 1e6, open_low=True)
    check_range("carlini_wagner", "initial_const", initial_const, 0, 1e10, open_low=True)
    check_range("carlini_wagner", "confidence", confidence, 0, 1e10)
    whole = unbounded("carlini_wagner", budget, x)
    search = Search(
        "carlini_wagner", ensemble, x, y, budget=whole, objective=objective, targeted=targeted, smallest=True,
        memory=memory,
    )  # fmt: skip
    const = torch.full_like(search.radius, initial_const)
    low, high = torch.zeros_like(const), torch.full_like(const, torch.inf)
    for _ in track(range(binary_search_steps), "Carlini-Wagner, constants"):
        reached = _minimise(search, const, steps, step_size, confidence)
        low, high = torch.where(reached, low, const), torch.where(reached, const, high)
        const = torch.where(torch.isfinite(high), (low + high) / 2, const * 10)
    settings = dict(
        objective=name_of(search.objective), steps=steps, binary_search_steps=binary_search_steps, step_size=step_size,
        initial_const=initial_const, confidence=confidence,
    )  # fmt: skip
    return search.report("carlini_wagner", cut(search, budget), budget, settings)


def _minimise(search: Search, const: Tensor, steps: int, step_size: float, confidence: float) -> Tensor:
    """Run Adam with these constants; return where the objective passed the confidence on the way."""
    low, high = search.budget.bounds(search.x)
    w = torch.atanh((2 * (search.x - low) / (high - low) - 1) * INSIDE)
    first, second, reached = torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(search.success)
    for step in range(1, steps + 1):
        squashed = torch.tanh(w)
        moved = low + (high - low) * (squashed + 1) / 2
        value, gradient = search.gradient(moved.clamp(low, high), search.rows)
        reached |= value > confidence
        short = search.spread(const * (value < confidence))
        slope = (2 * (moved - search.x) - short * gradient) * (high - low) * (1 - squashed**2) / 2
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        w = w - step_size * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    return reached
