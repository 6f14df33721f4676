"""Minimal norm: the smallest perturbation that changes the decision, by steps to the linearised boundary.

With the margin `m` (negative while the label stands) and its gradient `g` at `x_k`, the nearest point of the
linearised boundary `m + <g, z - x_k> = 0` lies `|m| / |g|_q` away along the steepest direction (`q` the dual norm).
Each step mixes that point as seen from `x_k` with the one seen from the clean image, more of the latter the closer:

    x_(k+1) = (1 - w) (x_k + 1.05 d_k) + w (x + 1.05 d_0),   w = min(0.1, |d_k| / (|d_k| + |d_0|))

From an image already misclassified the search goes back a tenth of the way to x. DeepFool (Moosavi-Dezfooli et al.
2016, arXiv 1511.04599) is the case w = 0, FAB (Croce and Hein 2020, arXiv 1907.02044) the pattern followed here. At the
end bisection moves each image found onto the boundary.
"""

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.auto_pgd import other_classes
from holdfast.attacks.objectives import margin_towards
from holdfast.attacks.search import Search, check_kinds
from holdfast.budget import Budget
from holdfast.checks import check_count, check_images
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.tiles import MEMORY

OVERSHOOT = 1.05
PULL = 0.1  # largest weight of the point seen from the clean image
BISECTIONS = 15


def minimal_norm(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    steps: int = 50,
    n_target_classes: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """Search the smallest perturbation that changes the decision.

    Args:
        ensemble: what to attack; one image is made against all its draws together.
        x: images `[B, *image]` within the budget's pixel range.
        y: labels `[B]` to move away from.
        budget: norm, one radius or several, and pixel range. The search is not bound by the radii: what it finds is
            cut to each of them at the end. For the distance alone give one radius as large as the pixel range allows.
        steps: gradient steps of each run.
        n_target_classes: besides one run towards whatever class is nearest, one towards each of so many other classes.
        memory: budget in bytes for the work of one moment.

    Returns:
        Per input and radius the smallest perturbation found, where it fits into the radius; elsewhere a failure, moved
        by the radius in the direction of what was found. Where nothing was found the image is the clean one.

    >>> network = torch.nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> x, y = torch.tensor([[.7, .5]]), torch.tensor([0])
    >>> result = minimal_norm(Ensemble.from_networks(network), x, y, budget=Budget("l2", [.1, 1.]))
    >>> result.success.tolist(), result.size_l2[1]
    ([[False], [True]], tensor([0.1414]))
    """
    check_kinds("minimal_norm", ensemble, budget)
    check_count("minimal_norm", "steps", steps)
    check_count("minimal_norm", "n_target_classes", n_target_classes, 0)
    whole = unbounded("minimal_norm", budget, x)
    search = Search("minimal_norm", ensemble, x, y, budget=whole, objective="margin", smallest=True, memory=memory)
    descend(search, steps=steps, rows=search.waiting)
    if len(ensemble) > 1 and len(search.waiting):  # loud draws can leave the log predictive flat far from its boundary
        search.aim("logit_margin")
        descend(search, steps=steps, rows=search.waiting)
    for target in other_classes(search).T[:n_target_classes]:
        search.aim(margin_towards, target)
        descend(search, steps=steps, rows=search.rows)
    bisect(search)
    settings = dict(steps=steps, n_target_classes=n_target_classes)
    return search.report("minimal_norm", cut(search, budget), budget, settings)


def unbounded(call: str, budget: Budget, x: Tensor) -> Budget:
    """The same norm and pixel range with the one radius that reaches every valid image; images and radii checked."""
    check_images(call, x)
    budget.check_inside(call, x)
    return Budget(budget.norm, budget.farthest(x), budget.lower, budget.upper)


def cut(search: Search, budget: Budget) -> Tensor:
    """The images found `[E, B, *image]`, moved no farther than each radius."""
    radii = torch.tensor(budget.epsilons, dtype=search.x.dtype, device=search.x.device)
    return torch.stack([budget.project(search.best, search.x, radius.expand(len(search.x))) for radius in radii])


def descend(search: Search, *, steps: int, rows: Tensor) -> None:
    """One run for these rows, towards the search's own aim."""
    if not len(rows):
        return
    x, moved = search.x[rows], search.x[rows].clone()
    for _ in track(range(steps), "minimal norm"):
        value, gradient = search.gradient(moved, rows)
        gradient = search.budget.free(gradient, moved)
        direction, dual = search.budget.steepest(gradient), _dual(search.budget, gradient)
        back = search.succeeded
        at_x = value + (gradient * (x - moved)).flatten(1).sum(1)  # of the linear model, at the clean image
        here = (-value / dual).nan_to_num(0, 0, 0)
        # of several draws the objective's boundary is not quite the decision's: go on where it has been passed too soon
        beyond = ~back & (value >= 0)
        here = torch.where(beyond, 0.1 * (search.budget.size(moved, x) - here), here)
        there = (-at_x / dual).nan_to_num(0, 0, 0).clamp(min=0)
        weight = (here.abs() / (here.abs() + there).clamp(min=1e-12)).clamp(max=PULL) * ~beyond
        near = moved + direction * search.spread(OVERSHOOT * here)
        far = x + direction * search.spread(OVERSHOOT * there)
        ahead = near + search.spread(weight) * (far - near)
        moved = torch.where(search.spread(back), x + 0.9 * (ahead - x), ahead)
        moved = search.project(moved, rows)
    search.judge(moved, rows)


def bisect(search: Search) -> None:
    """Move every image found along the line to its clean image, as near as it stays a success."""
    rows = search.success.nonzero()[:, 0]
    if not len(rows):
        return
    x, found = search.x[rows], search.best[rows]
    low, high = torch.zeros_like(search.radius[rows]), torch.ones_like(search.radius[rows])
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        ok = search.judge(search.project(x + search.spread(middle) * (found - x), rows), rows)
        low, high = torch.where(ok, low, middle), torch.where(ok, middle, high)


def _dual(budget: Budget, gradient: Tensor) -> Tensor:
    """How fast the linear model rises per unit size along the steepest direction."""
    return (gradient * budget.steepest(gradient)).flatten(1).sum(1)
