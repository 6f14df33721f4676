"""Boundary: the nearest point at which the decision changes, and the class on the other side.

    x* = argmin { |z - x| : log p_c'(z) = log p_c(z) for some c' != c, z in the pixel range },   c = the decision at x

`p` is the Bayesian model average; for one network `log p_c - log p_c'` is the difference of the logits. Finding x* is
NP-hard, so a row of searches competes and the closest point *on the other side* wins. A search that fails proposes
nothing. In order:

    minimal_norm      steps to the linearised boundary, towards whatever is nearest, then towards single classes
    closing_in        steepest steps within a ball that shrinks while the decision is changed and grows while it is not
    restarts          the same from random points around x; where nothing was found so far, first from that of 64
                      random points of the pixel range which comes closest to another decision
    pgd               projected gradient over rising radii below the distance found so far
    carlini_wagner    l2 only
    cutting_planes    l2, up to 256 pixels: the pieces met around the point found, as one convex problem
    auto_pgd_ce       AutoPGD on the cross-entropy, a little inside the distance found so far
    auto_pgd_dlr      AutoPGD on the difference-of-logits ratio (three classes or more), likewise

Closing in follows the idea of Pintor et al. 2021 (arXiv 2102.12827); the pipeline of projected gradients,
Carlini-Wagner and AutoPGD is that of Wang, Fredrikson and Datta, "Robust models are more interpretable because
attributions look normal" (arXiv 2103.11257). After each search bisection on the line to x moves its points onto the
boundary, and at the end the network is asked once more: what is returned was seen to have another decision. Exact
distances on small ReLU networks: `exact_boundary`.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from time import monotonic
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.attacked import sizes
from holdfast.attacks.boundary_stages import STAGES, BoundarySearch, TimeUp, approach
from holdfast.attacks.search import check_kinds
from holdfast.budget import Budget
from holdfast.checks import check_count, check_images, check_labels, check_memory, check_range, check_seed
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.tiles import MEMORY


@dataclass(frozen=True, eq=False)
class Boundary:
    """Nearest boundary points of `B` images, as far as they were found.

    Attributes:
        points: `[B, *image]`, on the far side of the boundary by less than the tolerance; the image itself where none
            was found.
        success: `[B]`, whether the decision at the point was seen to be another one.
        misclassified: `[B]`, images whose decision was not the label given; not searched, `success` is False.
        own: the decision `[B]` at the image.
        other: the decision `[B]` at the point; equal to `own` where none was found.
        distance: `[B]` in the norm of the search, in units of the images' pixels; NaN where none was found.
        distance_l2, distance_linf: the same in either norm.
        gap: `log p_other - log p_own` `[B]` at the point.
        found_by: the search that won each image; "" where none did.
        gradients: `[B]`, how many gradients of the network each image took.
        norm: "l2" or "linf".
        tolerance: what `gap` was to be brought below; an eighth of it is left, which another batch does not round away.
        settings: everything else the points depend on.
    """

    points: Tensor
    success: Tensor
    misclassified: Tensor
    own: Tensor
    other: Tensor
    distance: Tensor
    distance_l2: Tensor
    distance_linf: Tensor
    gap: Tensor
    found_by: tuple[str, ...]
    gradients: Tensor
    norm: str
    tolerance: float
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, rows: slice | Tensor | Sequence[int]) -> "Boundary":
        """The boundary points of some of the images."""
        numbers = torch.arange(len(self), device=self.points.device)[rows].tolist()
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen = {k: v[rows] if isinstance(v, Tensor) else v for k, v in chosen.items()}
        return Boundary(**chosen | {"found_by": tuple(self.found_by[i] for i in numbers)})

    @property
    def on_boundary(self) -> Tensor:
        """`[B]`: found, and within the tolerance of the boundary itself."""
        return self.success & (self.gap <= self.tolerance)

    @property
    def summary(self) -> dict[str, float | int]:
        """Counts of images and the median distance of those found."""
        found = self.distance[self.success]
        return {
            "images": len(self),
            "found": int(self.success.sum()),
            "misclassified": int(self.misclassified.sum()),
            "not_found": int((~self.success & ~self.misclassified).sum()),
            "median_distance": float(found.median()) if len(found) else float("nan"),
        }


def nearest_boundary(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor | None = None,
    *,
    norm: str = "l2",
    lower: float | Sequence[float] = 0.0,
    upper: float | Sequence[float] = 1.0,
    steps: int = 300,
    seconds: float | None = None,
    stages: Sequence[str] = STAGES,
    n_target_classes: int = 4,
    tolerance: float = 1e-4,
    seed: int = 0,
    memory: int = MEMORY,
) -> Boundary:
    """Search the nearest point at which the decision changes.

    Args:
        ensemble: whose decision; of several draws that of the Bayesian model average.
        x: images `[B, *image]` in the pixel range.
        y: labels `[B]`; images that are classified otherwise are flagged and not searched. None: the decisions.
        norm: "l2" or "linf".
        lower, upper: valid pixel values: numbers, or one number per channel.
        steps: gradients of the network that all searches together may take for one image. On small ReLU networks 2,000
            found the exact distance to 0.1 % for all of 64 images, the default for 63 (`python -m benchmarks
            boundaries`, beside `exact_boundary`).
        seconds: after so long no new gradient is begun, whatever is left of `steps`; what was found until then counts.
            Carlini-Wagner, once begun, takes its share to the end. None for no limit. With a limit the points depend
            on the machine.
        stages: which searches, in which order; see above. They share `steps`. One may be named more than once: it then
            goes on from what was found until then.
        n_target_classes: single classes that `minimal_norm` aims at, the most likely first.
        tolerance: bisection ends where `log p_other - log p_own` is below this, and above an eighth of it.
        seed: of the random starts.
        memory: budget in bytes for the work of one moment.

    Returns:
        A `Boundary`. Where no search changed the decision `success` is False and the distance NaN.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> network = torch.nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> found = nearest_boundary(Ensemble.from_networks(network), torch.tensor([[.8, .4]]), steps=50)
    >>> found.points.allclose(torch.tensor([[.6, .6]]), atol=1e-4), found.other
    (True, tensor([1]))
    """
    call = "nearest_boundary"
    deadline = math.inf if seconds is None else monotonic() + seconds
    budget = _checked(call, x, norm, lower, upper, steps, stages, tolerance)
    if seconds is not None:
        check_range(call, "seconds", seconds, 0, math.inf, open_low=True)
    check_count(call, "n_target_classes", n_target_classes, 0)
    check_seed(call, seed)
    check_memory(call, memory)
    check_kinds(call, ensemble, budget)
    x = x.detach()
    log_p = _log_predictive(call, ensemble, x, memory)
    own = log_p.argmax(-1)
    wrong = torch.zeros_like(own, dtype=torch.bool)
    if y is not None:
        check_labels(call, y, len(x), log_p.shape[-1])
        wrong = own != y.to(own.device)
    points, found_by, gradients = x.clone(), [""] * len(x), torch.zeros_like(own)
    rows = (~wrong).nonzero()[:, 0]
    if len(rows):
        given = dict(budget=budget, smallest=True, tolerance=tolerance, deadline=deadline, memory=memory)
        search = BoundarySearch(call, ensemble, x[rows], own[rows], **given)
        winners = _compete(search, stages, steps, n_target_classes, seed)
        points[rows], gradients[rows] = search.best, search.spent
        for row, winner in zip(rows.tolist(), winners, strict=True):
            found_by[row] = winner
    given = dict(steps=steps, seconds=seconds, stages=tuple(stages), n_target_classes=n_target_classes, seed=seed)
    return _verified(ensemble, x, points, own, wrong, found_by, gradients, budget, tolerance, given, memory)


def _compete(search: BoundarySearch, stages: Sequence[str], steps: int, n_target_classes: int, seed: int) -> list[str]:
    """Run the searches one after the other; the name of the one that found the closest point of each row."""
    generator = torch.Generator().manual_seed(seed)
    stages = [name for name in stages if STAGES[name].applies(search)]
    weights = [STAGES[name].weight for name in stages]
    winners, best = [""] * len(search.rows), search.distance
    for k, name in enumerate(track(stages, "nearest boundary, searches")):
        left = steps - int(search.spent.max())
        if left < 1:
            break
        share = max(1, left * weights[k] // sum(weights[k:]))
        in_time = False
        with suppress(TimeUp):
            STAGES[name].run(search, share, n_target_classes, generator)
            in_time = True
        approach(search)  # each point against the next on the boundary itself, and not beyond it
        closer = search.distance < best * (1 - 1e-6)
        winners = [name if won else before for won, before in zip(closer.tolist(), winners, strict=True)]
        best = torch.minimum(search.distance, best)
        if not in_time:
            break
    return winners


def _verified(
    ensemble: Ensemble,
    x: Tensor,
    points: Tensor,
    own: Tensor,
    wrong: Tensor,
    found_by: list[str],
    gradients: Tensor,
    budget: Budget,
    tolerance: float,
    settings: dict[str, Any],
    memory: int,
) -> Boundary:
    """Ask the network about the points afresh, and say of each what it says."""
    budget.assert_kept(points, x, x.new_full((len(x),), budget.epsilons[0]))
    log_p = ensemble.log_predictive(points, memory=memory)
    other = log_p.argmax(-1)
    success = (other != own) & ~wrong
    pick = lambda classes: log_p.gather(-1, classes[:, None])[:, 0]
    linf, l2 = sizes(points, x)
    measured = [torch.where(success, v, torch.nan) for v in (budget.size(points, x), l2, linf, pick(other) - pick(own))]
    found_by = tuple(name if ok else "" for name, ok in zip(found_by, success.tolist(), strict=True))
    return Boundary(
        torch.where(success.view(-1, *[1] * (x.ndim - 1)), points, x), success, wrong, own,
        torch.where(success, other, own), *measured, found_by, gradients, budget.norm, tolerance, settings,
    )  # fmt: skip


def _checked(
    call: str,
    x: Tensor,
    norm: str,
    lower: float | Sequence[float],
    upper: float | Sequence[float],
    steps: int,
    stages: Sequence[str],
    tolerance: float,
) -> Budget:
    check_images(call, x)
    check_count(call, "steps", steps)
    check_range(call, "tolerance", tolerance, 0, 1e6, open_low=True)
    if norm not in ("l2", "linf"):
        raise ValueError(f"{call}: norm must be 'l2' or 'linf', got {norm!r}.")
    unknown = [name for name in stages if name not in STAGES]
    if unknown or not stages:
        raise ValueError(f"{call}: stages must name some of {', '.join(STAGES)}, got {unknown or stages!r}.")
    farthest = Budget(norm, 1.0, lower, upper).farthest(x)
    budget = Budget(norm, farthest, lower, upper)
    budget.check_inside(call, x)
    return budget


def _log_predictive(call: str, ensemble: Ensemble, x: Tensor, memory: int) -> Tensor:
    log_p = ensemble.log_predictive(x, memory=memory)
    if log_p.ndim != 2 or log_p.shape[-1] < 2:
        raise ValueError(
            f"{call}: a decision needs at least two classes, the network gives outputs of shape "
            f"{tuple(log_p.shape[1:])} per image; a network of one class has no boundary."
        )
    return log_p
