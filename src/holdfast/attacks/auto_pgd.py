"""AutoPGD: projected gradient ascent that finds its own step size.

    z = P(x_k + a s(g_k)),   x_(k+1) = P(x_k + 3/4 (z - x_k) + 1/4 (x_k - x_(k-1)))

The step `a` starts at twice the radius. At checkpoints it is halved, and the search goes back to the best point, where
the objective rose in less than three quarters of the steps since the last checkpoint, or where neither step nor best
value have changed since (Croce and Hein 2020, arXiv 2003.01690). In l1 the step is one radius shared among the largest
entries of the gradient, without momentum; how many follows the best perturbation's own sparsity (Croce and Hein 2021,
arXiv 2103.01208). There is nothing to tune: `steps` is the budget of work.
"""

from dataclasses import dataclass, fields
from itertools import accumulate

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.objectives import ObjectiveFunction, margin_towards, name_of, targeted_dlr
from holdfast.attacks.search import Search
from holdfast.budget import Budget
from holdfast.checks import check_count, check_seed
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.tiles import MEMORY

RISING = 0.75  # share of steps that must raise the objective
INERTIA = 0.25  # share of the last move that is added to the next


def auto_pgd(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    objective: str | ObjectiveFunction = "margin",
    steps: int = 100,
    n_restarts: int = 1,
    early_stop: bool = False,
    targeted: bool = False,
    seed: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """Attack by AutoPGD.

    Args:
        ensemble: what to attack; one image is made against all its draws together.
        x: images `[B, *image]` within the budget's pixel range.
        y: labels `[B]` to move away from; with `targeted`, the classes to reach.
        budget: norm, one radius or several, and pixel range.
        objective: a name of `holdfast.attacks.objectives`, or a function (logits `[S, b, C]`, labels `[b]`) -> `[b]`.
        steps: gradient steps of each restart.
        n_restarts: random starts.
        early_stop: leave an image alone once it is misclassified: faster, but not its largest margin.
        targeted: lower the objective at `y` instead of raising it.
        seed: seed of the random starts.
        memory: budget in bytes for the work of one moment.

    Returns:
        The best image per input and radius.

    >>> network = torch.nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> x, y = torch.tensor([[.6, .5]]), torch.tensor([0])
    >>> auto_pgd(Ensemble.from_networks(network), x, y, budget=Budget("linf", [.01, .1]), steps=10).success.tolist()
    [[False], [True]]
    """
    check_count("auto_pgd", "steps", steps)
    check_count("auto_pgd", "n_restarts", n_restarts)
    check_seed("auto_pgd", seed)
    search = Search("auto_pgd", ensemble, x, y, budget=budget, objective=objective, targeted=targeted, memory=memory)
    generator = torch.Generator().manual_seed(seed)
    for _ in track(range(n_restarts), "AutoPGD, restarts"):
        climb(search, steps=steps, generator=generator, early_stop=early_stop)
    settings = dict(objective=name_of(search.objective), steps=steps, n_restarts=n_restarts)
    return search.finish("auto_pgd", settings | dict(early_stop=early_stop, seed=seed))


def auto_pgd_targeted(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    steps: int = 100,
    n_target_classes: int = 9,
    early_stop: bool = True,
    seed: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """Attack by AutoPGD towards one other class after the other, the most likely first, by the targeted ratio.

    Success is any misclassification. Arguments as for `auto_pgd`; `n_target_classes` classes are tried, or all others.
    """
    check_count("auto_pgd_targeted", "steps", steps)
    check_count("auto_pgd_targeted", "n_target_classes", n_target_classes)
    check_seed("auto_pgd_targeted", seed)
    search = Search("auto_pgd_targeted", ensemble, x, y, budget=budget, memory=memory)
    generator = torch.Generator().manual_seed(seed)
    climb_to_classes(search, n_target_classes, steps=steps, generator=generator, early_stop=early_stop)
    settings = dict(steps=steps, n_target_classes=n_target_classes, early_stop=early_stop, seed=seed)
    return search.finish("auto_pgd_targeted", settings)


def climb_to_classes(
    search: Search, n_target_classes: int, *, steps: int, generator: torch.Generator, early_stop: bool
) -> None:
    """One climb towards each of the most likely other classes; where ratios need more classes, by the margin."""
    order = other_classes(search)
    objective = targeted_dlr if search.clean.shape[-1] > 3 else margin_towards
    for target in track(order.T[:n_target_classes], "AutoPGD, target classes", min(n_target_classes, order.shape[1])):
        search.aim(objective, target)
        climb(search, steps=steps, generator=generator, early_stop=early_stop)


def other_classes(search: Search) -> Tensor:
    """Classes other than the label `[N, C - 1]`, the most likely on the clean image first."""
    order = search.clean.argsort(-1, descending=True).repeat(len(search.budget.epsilons), 1)
    return order[order != search.y[:, None]].view(len(order), -1)


def climb(search: Search, *, steps: int, generator: torch.Generator, early_stop: bool) -> None:
    """One run of AutoPGD from a random start, on all rows or on those still without success."""
    start = search.budget.random(search.x, search.radius, generator)  # of all rows, so that none depends on the others
    rows = search.waiting if early_stop else search.rows
    if not len(rows):
        return
    state = _begin(search, start[rows], rows)
    window, since = _windows(steps, search.budget.norm), 0
    for _ in track(range(steps), "AutoPGD"):
        state = _step(search, state)
        since += 1
        if window and since == window[0]:
            state = _checkpoint(search, state, window.pop(0))
            since = 0
        if early_stop:
            state = state.keep(~search.success[state.rows])
            if not len(state.rows):
                return


@dataclass
class _State:
    """Where each of the rows under way stands."""

    rows: Tensor
    x: Tensor
    before: Tensor  # the point before x
    gradient: Tensor
    value: Tensor
    best: Tensor
    best_gradient: Tensor
    best_value: Tensor
    checked_value: Tensor  # best value at the last checkpoint
    stride: Tensor
    just_cut: Tensor  # whether the last checkpoint cut the stride
    rises: Tensor
    moved_pixels: Tensor  # l1: how many pixels a step moves
    checked_pixels: Tensor  # l1: how many pixels the best perturbation had at the last checkpoint

    def keep(self, chosen: Tensor) -> "_State":
        if bool(chosen.all()):
            return self
        return _State(*(getattr(self, field.name)[chosen] for field in fields(self)))


def _begin(search: Search, start: Tensor, rows: Tensor) -> _State:
    value, gradient = search.gradient(start, rows)
    norm, pixels = search.budget.norm, start[0].numel()
    stride = search.radius[rows] * (1 if norm == "l1" else 2)
    count = torch.full_like(rows, pixels)
    return _State(
        rows, start, start, gradient, value, start, gradient, value, value, stride,
        torch.ones_like(rows, dtype=torch.bool), torch.zeros_like(rows), (count // 5).clamp(min=1), count,
    )  # fmt: skip


def _step(search: Search, state: _State) -> _State:
    stride = search.spread(state.stride)
    if search.budget.norm == "l1":
        direction = search.budget.sparse(search.budget.free(state.gradient, state.x), state.moved_pixels)
        moved = search.project(state.x + stride * direction, state.rows)
    else:
        ahead = search.project(state.x + stride * search.steepest(state.gradient, state.x), state.rows)
        moved = state.x + (1 - INERTIA) * (ahead - state.x) + INERTIA * (state.x - state.before)
        moved = search.project(moved, state.rows)
    value, gradient = search.gradient(moved, state.rows)
    better = value > state.best_value
    state.rises = state.rises + (value > state.value)
    state.before, state.x, state.value, state.gradient = state.x, moved, value, gradient
    _remember(search, state, better)
    return state


def _remember(search: Search, state: _State, better: Tensor) -> None:
    state.best = torch.where(search.spread(better), state.x, state.best)
    state.best_gradient = torch.where(search.spread(better), state.gradient, state.best_gradient)
    state.best_value = torch.where(better, state.value, state.best_value)


def _checkpoint(search: Search, state: _State, window: int) -> _State:
    if search.budget.norm == "l1":
        pixels = ((state.best - search.x[state.rows]).flatten(1) != 0).sum(1)
        settled = pixels >= 0.95 * state.checked_pixels
        least, most = search.radius[state.rows] / 10, search.radius[state.rows]
        state.stride = torch.where(settled, torch.maximum(state.stride / 1.5, least), most)
        state.moved_pixels = (pixels / 1.5).long().clamp(min=1)
        state.checked_pixels, cut = pixels, ~settled
    else:
        cut = state.rises < RISING * window
        cut |= ~state.just_cut & (state.best_value <= state.checked_value)
        state.stride = torch.where(cut, state.stride / 2, state.stride)
        state.just_cut, state.checked_value = cut, state.best_value
    state.rises = torch.zeros_like(state.rises)
    spread = search.spread(cut)
    state.x = torch.where(spread, state.best, state.x)
    state.before = torch.where(spread, state.best, state.before)
    state.gradient = torch.where(spread, state.best_gradient, state.gradient)
    state.value = torch.where(cut, state.best_value, state.value)
    return state


def _windows(steps: int, norm: str) -> list[int]:
    """Steps between checkpoints: a fifth of all at first, each 3 % of all shorter than the last, down to 6 %."""
    if norm == "l1":
        return [max(1, round(0.04 * steps))] * steps
    shares = accumulate(range(steps), lambda share, _: max(share - 0.03, 0.06), initial=0.22)
    return [max(1, round(share * steps)) for share in shares]
