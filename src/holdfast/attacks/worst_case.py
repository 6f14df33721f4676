"""Worst case: per image the strongest of a fixed set of attacks without parameters.

AutoAttack's standard (Croce and Hein 2020, arXiv 2003.01690) made aware of the posterior. Every stage works on the
images that no stage before it has broken:

    1. AutoPGD on the margin of the log predictive
    2. AutoPGD on the tempered cross-entropy
    3. several draws only: AutoPGD on the votes, on the margin of the mean logits, and on that of levelled draws
    4. AutoPGD towards each of the nine most likely other classes, by the targeted ratio
    5. several draws only: the same twice by the margin of levelled draws
    6. the smallest perturbation that changes the decision, towards each of these classes
    7. Square, which asks for answers only

An ensemble with loud logits hides from attacks on its log predictive but not from stages 3, 5 and 7. Levelling matters:
twenty networks for MNIST whose training began at weights of unit size (60 images, linf 0.03) are left 55 % right
without and 43 % with it; eight of 64 pixels, a hundredth to a thousand times as loud as trained, 28 % and 9 %.

The draws are the ensemble's own and do not change during the attack. Whether the images also mislead other draws of the
same posterior, `transfer` tells: `transfer(worst_case(posterior[:50], x, y, budget=budget), posterior[50:], x, y)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.auto_pgd import climb, climb_to_classes, other_classes
from holdfast.attacks.minimal_norm import descend
from holdfast.attacks.objectives import LEVELS, levelled_towards, margin_towards
from holdfast.attacks.search import Search
from holdfast.attacks.square import try_patches
from holdfast.budget import Budget
from holdfast.checks import check_count, check_seed
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.tiles import MEMORY


def worst_case(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    steps: int = 100,
    n_restarts: int = 1,
    n_target_classes: int = 9,
    queries: int = 5000,
    seed: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """Attack with all there is, until every image is misclassified or all attacks have failed on it.

    Args:
        ensemble: what to attack; one image is made against all its draws together.
        x: images `[B, *image]` within the budget's pixel range.
        y: true labels `[B]`.
        budget: norm, one radius or several, and pixel range. What breaks an image within one radius breaks it in all
            larger ones.
        steps: gradient steps of each climb.
        n_restarts: random starts of stages 1 to 3.
        n_target_classes: classes that stages 4 to 6 aim at.
        queries: queries of stage 7.
        seed: seed of all starts and patches.
        memory: budget in bytes for the work of one moment.

    Returns:
        Per input and radius the first image found that is misclassified, else the one closest to it. The settings
        record in `broken_by` how many images of each radius every stage broke, in order.

    >>> network = torch.nn.Linear(4, 4, bias=False)
    >>> network.weight.data = torch.eye(4)
    >>> x, y = torch.tensor([[.6, .5, .5, .5]]), torch.tensor([0])
    >>> result = worst_case(
    ...     Ensemble.from_networks(network), x, y, budget=Budget("linf", [.01, .1]), steps=10, queries=20
    ... )
    >>> result.success.tolist()
    [[False], [True]]
    """
    for name, value in dict(steps=steps, n_restarts=n_restarts, n_target_classes=n_target_classes).items():
        check_count("worst_case", name, value)
    check_count("worst_case", "queries", queries)
    check_seed("worst_case", seed)
    search = Search("worst_case", ensemble, x, y, budget=budget, memory=memory)
    plan = _Plan(steps, n_restarts, n_target_classes, queries, torch.Generator().manual_seed(seed))
    broken_by = {"clean": _broken(search)}
    stages = _stages(len(ensemble))
    for name in track(stages, "worst case, stages"):
        before = torch.tensor(_broken(search))
        if len(search.waiting):
            stages[name](search, plan)
            _hand_up(search)
        broken_by[name] = (torch.tensor(_broken(search)) - before).tolist()
    settings = dict(steps=steps, n_restarts=n_restarts, n_target_classes=n_target_classes, queries=queries, seed=seed)
    return search.finish("worst_case", settings | {"broken_by": broken_by})


@dataclass(frozen=True)
class _Plan:
    steps: int
    n_restarts: int
    n_target_classes: int
    queries: int
    generator: torch.Generator


def _stages(draws: int) -> dict[str, Callable[[Search, _Plan], None]]:
    climbs = ["margin", "tempered_cross_entropy"] + (["votes", "logit_margin", "levelled_margin"] if draws > 1 else [])
    stages: dict[str, Callable[[Search, _Plan], None]] = {f"auto_pgd {name}": _climb(name) for name in climbs}
    stages["auto_pgd towards classes"] = _towards
    if draws > 1:
        stages["auto_pgd towards classes, draws levelled"] = _towards_levelled
    return stages | {"minimal_norm": _smallest, "square": _square}


def _climb(objective: str) -> Callable[[Search, _Plan], None]:
    def stage(search: Search, plan: _Plan) -> None:
        search.aim(objective)
        for _ in range(plan.n_restarts):
            climb(search, steps=plan.steps, generator=plan.generator, early_stop=True)

    return stage


def _towards(search: Search, plan: _Plan) -> None:
    climb_to_classes(search, plan.n_target_classes, steps=plan.steps, generator=plan.generator, early_stop=True)


def _towards_levelled(search: Search, plan: _Plan) -> None:
    """On all levels together, then on the sharpest, where the average comes nearest to a vote."""
    for levels in (LEVELS, LEVELS[-1:]):
        for target in other_classes(search).T[: plan.n_target_classes]:
            search.aim(partial(levelled_towards, levels=levels), target)
            climb(search, steps=plan.steps, generator=plan.generator, early_stop=True)


def _smallest(search: Search, plan: _Plan) -> None:
    """The search for small perturbations, kept within each radius all along."""
    for target in other_classes(search).T[: plan.n_target_classes]:
        search.aim(margin_towards, target)
        descend(search, steps=plan.steps, rows=search.waiting)


def _square(search: Search, plan: _Plan) -> None:
    search.aim("margin")
    try_patches(search, queries=plan.queries, generator=plan.generator)


def _broken(search: Search) -> list[int]:
    return search.success.view(len(search.budget.epsilons), -1).sum(1).tolist()


def _hand_up(search: Search) -> None:
    """Give every image broken within a radius to the larger radii where it still stands."""
    shape = (len(search.budget.epsilons), -1)
    order = search.radius.view(shape)[:, 0].argsort().tolist()
    best, success, margin = (t.unflatten(0, shape) for t in (search.best, search.success, search.margin))
    for small, large in pairwise(order):
        give = success[small] & ~success[large]
        best[large] = torch.where(search.spread(give), best[small], best[large])
        margin[large] = torch.where(give, margin[small], margin[large])
        success[large] |= give
