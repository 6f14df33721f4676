"""Projected gradient ascent in the budget, with restarts, momentum and several radii side by side.

    v <- m v + s(g),   x <- P(x + a s(v)),   g = gradient of the objective at x

`s` is the steepest direction of the norm (sign for linf) among the pixels that are free to move, `P` the projection
onto ball and pixel range, `a` the step size. PGD of Madry et al. 2018 (arXiv 1706.06083); with momentum `m` the method
of Dong et al. 2018 (arXiv 1710.06081). The image returned is the best one met on the way, over all steps and restarts,
never simply the last.
"""

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.objectives import ObjectiveFunction, name_of
from holdfast.attacks.search import Search
from holdfast.budget import Budget
from holdfast.checks import check_count, check_range, check_seed
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.tiles import MEMORY


def pgd(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    objective: str | ObjectiveFunction = "margin",
    steps: int = 40,
    step_size: float | None = None,
    momentum: float = 0.0,
    random_start: bool = True,
    n_restarts: int = 1,
    early_stop: bool = False,
    targeted: bool = False,
    seed: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """Attack by projected gradient ascent.

    Args:
        ensemble: what to attack; one image is made against all its draws together.
        x: images `[B, *image]` within the budget's pixel range.
        y: labels `[B]` to move away from; with `targeted`, the classes to reach.
        budget: norm, one radius or several, and pixel range.
        objective: a name of `holdfast.attacks.objectives`, or a function (logits `[S, b, C]`, labels `[b]`) -> `[b]`.
        steps: gradient steps of each restart.
        step_size: length of a step in parts of the radius; `2.5 / steps` unless given.
        momentum: share of the last direction that is kept.
        random_start: begin at a random point of the ball, not at the image.
        n_restarts: how many starts; the first starts at the image where `random_start` is off.
        early_stop: leave an image alone once it is misclassified: faster, but not its largest margin.
        targeted: lower the objective at `y` instead of raising it.
        seed: seed of the random starts.
        memory: budget in bytes for the work of one moment.

    Returns:
        The best image per input and radius.

    >>> network = torch.nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> x, y = torch.tensor([[.6, .5]]), torch.tensor([0])
    >>> result = pgd(Ensemble.from_networks(network), x, y, budget=Budget("linf", [.01, .1]), steps=10)
    >>> result.success.tolist()
    [[False], [True]]
    """
    check_count("pgd", "steps", steps)
    check_count("pgd", "n_restarts", n_restarts)
    check_range("pgd", "momentum", momentum, 0, 1)
    check_seed("pgd", seed)
    step_size = 2.5 / steps if step_size is None else step_size
    check_range("pgd", "step_size", step_size, 0, 1e6, open_low=True)
    search = Search("pgd", ensemble, x, y, budget=budget, objective=objective, targeted=targeted, memory=memory)
    generator = torch.Generator().manual_seed(seed)
    for restart in track(range(n_restarts), "projected gradient, restarts"):
        start = search.x
        if random_start or restart > 0:
            start = budget.random(search.x, search.radius, generator)
        _ascend(search, start, steps, step_size, momentum, early_stop)
    settings = dict(objective=name_of(search.objective), steps=steps, step_size=step_size, momentum=momentum)
    settings |= dict(random_start=random_start, n_restarts=n_restarts, early_stop=early_stop, seed=seed)
    return search.finish("pgd", settings)


def _ascend(search: Search, start: Tensor, steps: int, step_size: float, momentum: float, early_stop: bool) -> None:
    rows = search.waiting if early_stop else search.rows
    moved, velocity = start[rows], torch.zeros_like(start[rows])
    for _ in track(range(steps), "projected gradient"):
        if not len(rows):
            return
        _, gradient = search.gradient(moved, rows)
        velocity = momentum * velocity + search.steepest(gradient, moved)
        stride = search.spread(step_size * search.radius[rows])
        moved = search.project(moved + stride * search.budget.steepest(velocity), rows)
        if early_stop:
            left = ~search.success[rows]
            rows, moved, velocity = rows[left], moved[left], velocity[left]
    if len(rows):
        search.judge(moved, rows)
