"""Random noise of the same size as an attack: the control without which no attack or explanation score means much.

linf  x + e s, s = +-1 per pixel with equal chance ("sign"), or uniform in [-e, e] per pixel ("uniform")
l2    x + e n / |n|, n standard normal; where pixels meet the pixel range the others take over, so that the size is e
"""

from typing import Literal

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.objectives import ObjectiveFunction
from holdfast.attacks.search import Search
from holdfast.budget import Budget
from holdfast.checks import check_count, check_seed
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY


def random_noise(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    objective: str | ObjectiveFunction = "margin",
    kind: Literal["sign", "uniform"] = "sign",
    n_restarts: int = 1,
    targeted: bool = False,
    seed: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """Add noise of the budget's size. With one try (the default) it is the same whatever the ensemble answers.

    Args:
        ensemble: whose decisions are recorded.
        x: images `[B, *image]` within the budget's pixel range.
        y: labels `[B]`; with `targeted`, the classes to reach.
        budget: norm, one radius or several, and pixel range. All radii share one draw of the noise.
        objective: taken so that all attacks are called alike; noise has no use for it.
        kind: how pixels are drawn for linf.
        n_restarts: tries per image. With more than one, random search: the most misleading one is kept.
        targeted: count reaching `y` as success.
        seed: seed of the noise.
        memory: budget in bytes for the work of one moment.

    Returns:
        The noisy images per input and radius.

    >>> network = torch.nn.Linear(3, 2)
    >>> x = torch.full((1, 3), .5)
    >>> result = random_noise(Ensemble.from_networks(network), x, torch.tensor([0]), budget=Budget("linf", .25))
    >>> (result.images - x).abs()
    tensor([[[0.2500, 0.2500, 0.2500]]])
    """
    if kind not in ("sign", "uniform"):
        raise ValueError(f"random_noise: kind must be 'sign' or 'uniform', got {kind!r}.")
    check_count("random_noise", "n_restarts", n_restarts)
    check_seed("random_noise", seed)
    search = Search(
        "random_noise", ensemble, x, y, budget=budget, objective=objective, targeted=targeted, memory=memory
    )
    generator = torch.Generator().manual_seed(seed)
    search.forget()  # one draw of noise is a control, not an attack: it is kept even where the clean image is worse
    for _ in range(n_restarts):
        if budget.norm == "linf" and kind == "uniform":
            share = _same_for_all_radii(search, 2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1)
            moved = search.project(search.x + share * search.spread(search.radius), search.rows)
        else:
            noise = _same_for_all_radii(search, torch.randn(x.shape, generator=generator, dtype=x.dtype))
            moved = budget.linear_optimum(search.x, noise, search.radius)
        search.judge(moved, search.rows)
    return search.finish("random_noise", dict(kind=kind, n_restarts=n_restarts, seed=seed))


def _same_for_all_radii(search: Search, noise: Tensor) -> Tensor:
    return noise.to(search.x.device).repeat(len(search.budget.epsilons), *[1] * (noise.ndim - 1))
