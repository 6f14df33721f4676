"""Boundary points as released: projected gradient at rising radii, whose failures pass for boundary points.

    z <- clip(P_r(z + (2 r^2 / steps) grad / |grad|)),      z starts at random in the ball of radius r,      r in radii

What is wrong with it:

- an image on which every radius fails keeps the last iterate of the *smallest* one, and is explained and averaged as if
  it were at a boundary (28 % of the images of the standard ResNet-50);
- the step is the radius times a share that already holds the radius: below 0.5 the walk is too short to cross the ball;
- points are left where the walk ends, beyond the boundary, on a coarse grid of distances;
- Carlini-Wagner, which follows, is cut to a ball of radius 1, and improves on what it is given only where it is closer
  than that: a failed first point, which is close, keeps every success out. As released the comparison of the labels
  raises an error as soon as it matters; here it compares them.

The search of this project is `holdfast.attacks.nearest_boundary`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.attacks import Boundary, carlini_wagner
from holdfast.attacks.attacked import sizes
from holdfast.budget import Budget
from holdfast.checks import check_count, check_images, check_labels
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY

RADII = (36 / 255, 64 / 255, 0.3, 0.5, 0.7, 0.9, 1.1)
CLIPPED = 1.0  # radius of Carlini-Wagner


def boundary_as_released(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    radii: Sequence[float] = RADII,
    steps: int = 100,
    carlini_wagner_steps: int = 0,
    seed: int = 0,
    memory: int = MEMORY,
) -> Boundary:
    """The released search. For comparison only.

    Args:
        ensemble: one network.
        x: images `[B, *image]` in [0, 1].
        y: labels `[B]`.
        radii: rising l2 radii of projected gradient.
        steps: of projected gradient at each radius.
        carlini_wagner_steps: of Carlini-Wagner afterwards; 0 for none.
        seed: of the random starts.
        memory: budget in bytes.

    Returns:
        As of `nearest_boundary`; but `points` and distances of images without success are those of the failure.

    >>> network = torch.nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> x, y = torch.tensor([[.9, .1]]), torch.tensor([0])
    >>> found = boundary_as_released(Ensemble.from_networks(network), x, y, radii=[.1, .2])
    >>> found.success, bool((found.points != x).all()), bool(found.distance < .2)
    (tensor([False]), True, True)
    """
    call = "boundary_as_released"
    check_images(call, x)
    check_count(call, "steps", steps)
    check_count(call, "carlini_wagner_steps", carlini_wagner_steps, 0)
    own = ensemble.predict(x, memory=memory)
    check_labels(call, y, len(x), ensemble.logits(x[:1]).shape[-1])
    wrong, generator = own != y, torch.Generator().manual_seed(seed)
    points, success = x.clone(), torch.zeros_like(wrong)
    for number, radius in enumerate(radii):
        tried = _projected_gradient(ensemble, x, y, radius, steps, generator, memory)
        crossed = (ensemble.predict(tried, memory=memory) != y) & ~success & ~wrong
        taken = crossed | (~wrong if number == 0 else torch.zeros_like(wrong))
        points[taken], success = tried[taken], success | crossed
    if carlini_wagner_steps:
        budget, distance = Budget("l2", CLIPPED), (points - x).flatten(1).norm(dim=1)
        given = dict(budget=budget, steps=carlini_wagner_steps, memory=memory)
        found = carlini_wagner(ensemble, x, y, **given)
        closer = found.success[0] & ~wrong & ((found.images[0] - x).flatten(1).norm(dim=1) < distance)
        points[closer], success = found.images[0][closer], success | closer
    return _told(ensemble, x, points, own, success, wrong, {"radii": list(radii), "steps": steps, "seed": seed}, memory)


def _projected_gradient(
    ensemble: Ensemble, x: Tensor, y: Tensor, radius: float, steps: int, generator: torch.Generator, memory: int
) -> Tensor:
    budget, radii = Budget("l2", radius), x.new_full((len(x),), radius)
    direction = torch.randn(x.shape, generator=generator).to(x).flatten(1)
    share = torch.rand(len(x), 1, generator=generator).to(x) ** (1 / direction.shape[1])
    start = (radius * share * direction / direction.norm(dim=1, keepdim=True)).view_as(x)
    moved = budget.project(x + start, x, radii)
    loss = lambda logits, images: F.cross_entropy(logits[0], y[images], reduction="none")
    for _ in range(steps):
        _, gradient = ensemble.value_and_gradient(moved, loss, memory=memory)
        length = gradient.flatten(1).norm(dim=1).clamp(min=1e-12).view(-1, *[1] * (x.ndim - 1))
        moved = budget.project(moved + 2 * radius**2 / steps * gradient / length, x, radii)
    return moved


def _told(
    ensemble: Ensemble,
    x: Tensor,
    points: Tensor,
    own: Tensor,
    success: Tensor,
    wrong: Tensor,
    settings: dict[str, object],
    memory: int,
) -> Boundary:
    log_p = ensemble.log_predictive(points, memory=memory)
    other = log_p.argmax(-1)
    linf, l2 = (torch.where(wrong, torch.nan, size) for size in sizes(points, x))
    pick = lambda classes: log_p.gather(-1, classes[:, None])[:, 0]
    return Boundary(
        points, success, wrong, own, other, l2.clone(), l2, linf, pick(other) - pick(own), ("released",) * len(x),
        torch.full_like(own, settings["steps"] * len(settings["radii"])), "l2", torch.inf, settings,
    )  # fmt: skip
