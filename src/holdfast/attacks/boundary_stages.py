"""The searches that `nearest_boundary` lets compete. Each proposes points to one `BoundarySearch`, which keeps the
closest that changes the decision and counts what was spent."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.auto_pgd import climb, other_classes
from holdfast.attacks.carlini_wagner import carlini_wagner
from holdfast.attacks.cutting_planes import cut_planes
from holdfast.attacks.minimal_norm import descend
from holdfast.attacks.objectives import margin_towards
from holdfast.attacks.search import Search
from holdfast.progress import track

CONSTANTS = 5  # of Carlini-Wagner
RADII = (0.7, 0.85, 0.95)  # of projected gradient, in parts of the distance found so far
FAR_RADII = (1 / 64, 1 / 8, 1.0)  # the same in parts of the whole pixel range, where nothing was found so far
DARTS = 64  # random points where nothing was found so far
RESTART = 25  # gradients of one restart of closing in
RESTART_PLANES = 8  # of these, for cutting planes
FEW = 256  # pixels up to which cutting planes help; on 56 x 56 they made distances 4 % longer, at an equal budget
AROUND = 2.0  # where it starts, in parts of the distance found so far
INSIDE = 0.97  # radius of AutoPGD in parts of the distance found so far
FIRST_STEP, LAST_STEP = 0.3, 0.002  # of closing in, in parts of the distance
FIRST_SHRINK, LAST_SHRINK = 0.05, 0.0005  # by how much its ball shrinks or grows in one step
BISECTIONS = 50
FIRST_EXPANSION, EXPANSIONS = 1e-6, 8  # of a point that lies too near the boundary, in parts of its distance


class TimeUp(Exception):
    """The time that a search may take is over. What it found until then stands."""


class BoundarySearch(Search):
    """A search for the closest point that changes the decision, with a count of the gradients spent on every row.

    Attributes:
        tolerance: how near the boundary a point is to be at the end, in units of the margin.
        deadline: no gradient is begun after it, on the clock `time.monotonic`.
        spent: gradients of each row.
    """

    def __init__(self, *given: Any, tolerance: float = 0.0, deadline: float = math.inf, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.tolerance, self.deadline = tolerance, deadline
        self.spent = torch.zeros_like(self.y)

    def gradient(self, moved: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As `Search.gradient`, counted.

        Raises:
            TimeUp: the deadline has passed.
        """
        if monotonic() > self.deadline:
            raise TimeUp
        self.spent[rows] += 1
        return super().gradient(moved, rows)

    def margin_at(self, moved: Tensor, rows: Tensor) -> Tensor:
        """How wrong the log predictive is at points of these rows `[n]`, which are not noted."""
        return self._verdict(self._ask(moved), self.y[rows])[0]

    @property
    def distance(self) -> Tensor:
        """Distance `[N]` of the closest point found; infinite where none was."""
        return torch.where(self.success, self.budget.size(self.best, self.x), torch.inf)

    @contextmanager
    def within(self, rows: Tensor, radius: Tensor) -> Iterator["BoundarySearch"]:
        """A search of its own for these rows, held within `radius` `[n]`, whose first success is what counts.

        At its end what it found and what it spent is noted here.
        """
        given = dict(budget=self.budget, tolerance=self.tolerance, deadline=self.deadline, memory=self.memory)
        inner = BoundarySearch(self.call, self.ensemble, self.x[rows], self.y[rows], **given)
        inner.radius = radius
        try:
            yield inner
        finally:  # also when the time is up
            self.spent[rows] += inner.spent
            won = inner.success.nonzero()[:, 0]
            if len(won):
                self.judge(inner.best[won], rows[won])


@dataclass(frozen=True)
class Stage:
    """One of the searches.

    Attributes:
        run: (search, gradients it may take per row, single classes to aim at, random numbers).
        weight: its share of the gradients, in parts of those of the others.
        applies: whether the search makes sense for this norm and number of classes.
    """

    run: Callable[[BoundarySearch, int, int, torch.Generator], None]
    weight: int = 1
    applies: Callable[[BoundarySearch], bool] = lambda search: True


def approach(search: BoundarySearch) -> None:
    """Move every point found along its line to the image until its margin is at most half of the tolerance.

    At least an eighth of it is left: the same network decides differently in another batch where the margin is what
    its sums are rounded to. Points that were found nearer than that are moved away from the image.
    """
    enough, most = search.tolerance / 8, search.tolerance / 2
    rows, found, origin = search.success.nonzero()[:, 0], search.best.clone(), search.x
    low, high = torch.zeros_like(search.radius), torch.ones_like(search.radius)

    def ask(rows: Tensor, share: Tensor) -> Tensor:
        moved = search.project(origin[rows] + search.spread(share) * (found[rows] - origin[rows]), rows)
        margin = search.margin_at(moved, rows)
        ok = margin > enough
        search.best[rows[ok]], search.margin[rows[ok]] = moved[ok], margin[ok]
        return ok

    thin = rows[search.margin[rows] <= enough]
    for power in range(EXPANSIONS):
        if not len(thin):
            break
        share = torch.full_like(high[thin], 1 + FIRST_EXPANSION * 4**power)
        ok = ask(thin, share)
        high[thin[ok]] = share[ok]
        thin = thin[~ok]
    for _ in range(BISECTIONS):
        rows = rows[(search.margin[rows] > most) & (high[rows] - low[rows] > 0)]
        if not len(rows):
            return
        middle = (low[rows] + high[rows]) / 2
        ok = ask(rows, middle)
        low[rows], high[rows] = torch.where(ok, low[rows], middle), torch.where(ok, middle, high[rows])


def _minimal_norm(search: BoundarySearch, steps: int, classes: int, generator: torch.Generator) -> None:
    search.aim("margin")
    single = other_classes(search).T[:classes] if search.clean.shape[-1] > 2 else []
    share = max(1, steps // (1 + len(single)))
    descend(search, steps=share, rows=search.rows)
    if steps >= 2 * share and len(search.ensemble) > 1 and len(search.waiting):
        steps -= share  # loud draws can leave the average flat far from its boundary
        search.aim("logit_margin")
        descend(search, steps=share, rows=search.waiting)
    for target in single:
        if steps < 2 * share:
            break
        steps -= share
        search.aim(margin_towards, target)
        descend(search, steps=share, rows=search.rows)


def _closing_in(search: BoundarySearch, steps: int, classes: int, generator: torch.Generator) -> None:
    search.aim("margin")
    _close_in(search, search.best, search.distance, steps)


def _throw_darts(search: BoundarySearch, seed: int) -> None:
    """Where nothing was found so far, ask about random points of the whole pixel range, without gradients.

    The first restart begins at the one with the largest margin: a class of which no gradient tells at the image is
    found so. All rows share the points, so that none depends on the others.
    """
    generator, (low, high) = torch.Generator().manual_seed(seed), search.budget.bounds(search.x)
    for _ in range(DARTS):
        rows = search.waiting
        if not len(rows):
            return
        share = torch.rand(search.x.shape[1:], generator=generator, dtype=torch.float64).to(search.x)
        point = low + share[None] * (high - low)
        search.judge(search.project(point.expand_as(search.x[rows]).clone(), rows), rows)


def _restarts(search: BoundarySearch, steps: int, classes: int, generator: torch.Generator) -> None:
    lost, count = search.spread(~search.success), max(1, steps // RESTART)
    _throw_darts(search, generator.initial_seed())
    for _ in track(range(count), "closing in, restarts"):
        distance = search.distance
        around = torch.where(torch.isfinite(distance), AROUND * distance, search.radius)
        start = search.budget.random(search.x, torch.minimum(around, search.radius), generator)
        start, lost = torch.where(lost, search.best, start), torch.zeros_like(lost)
        planes = min(RESTART_PLANES, steps // count - 1) if _few_pieces(search) else 0
        with search.within(search.rows, search.radius) as inner:
            inner.smallest = True
            _close_in(inner, start, torch.full_like(distance, torch.inf), steps // count - planes)
            _cutting_planes(inner, planes, classes, generator)


def _close_in(search: BoundarySearch, moved: Tensor, distance: Tensor, steps: int) -> None:
    """Steps within a ball that shrinks while the decision is changed and grows while it is not.

    Args:
        search: what is told of every point.
        moved: where to begin `[N, *image]`.
        distance: of the closest point known to have another decision `[N]`; infinite where none is.
        steps: how many.
    """
    rows, x = search.rows, search.x
    seen = torch.isfinite(distance)
    radius = torch.where(seen, distance, search.radius)
    for step in track(range(steps), "closing in"):
        share = (1 + math.cos(math.pi * step / steps)) / 2
        stride = LAST_STEP + (FIRST_STEP - LAST_STEP) * share
        shrink = LAST_SHRINK + (FIRST_SHRINK - LAST_SHRINK) * share
        _, gradient = search.gradient(moved, rows)
        changed, size = search.succeeded, search.budget.size(moved, x)
        seen = seen | changed
        radius = torch.where(changed, torch.minimum(radius, size) * (1 - shrink), radius * (1 + shrink))
        radius = torch.minimum(torch.where(seen, radius, search.radius), search.radius)
        length = torch.where(seen, radius, search.budget.size(moved, x).clamp(min=float(search.radius[0]) / steps))
        direction = search.steepest(gradient, moved)
        moved = search.budget.project(moved + search.spread(stride * length) * direction, x, radius)
    search.judge(moved, rows)


def _pgd(search: BoundarySearch, steps: int, classes: int, generator: torch.Generator) -> None:
    search.aim("margin")
    share = max(1, steps // len(RADII))
    before, far = search.distance, search.radius
    for near, wide in list(zip(RADII, FAR_RADII, strict=True))[:steps]:
        radius = torch.where(torch.isfinite(before), near * before, wide * far)
        start = search.budget.random(search.x, radius, generator)  # of all rows, so that none depends on the others
        rows = (search.distance > radius).nonzero()[:, 0]
        moved, r = start[rows], radius[rows]
        for _ in range(share):
            if not len(rows):
                break
            _, gradient = search.gradient(moved, rows)
            stride = search.spread(2.5 / share * r)
            moved = search.budget.project(moved + stride * search.steepest(gradient, moved), search.x[rows], r)
            left = ~search.succeeded
            rows, moved, r = rows[left], moved[left], r[left]
        if len(rows):
            search.judge(moved, rows)


def _carlini_wagner(search: BoundarySearch, steps: int, classes: int, generator: torch.Generator) -> None:
    constants = min(CONSTANTS, steps)
    given = dict(steps=steps // constants, binary_search_steps=constants, initial_const=0.1, memory=search.memory)
    result = carlini_wagner(search.ensemble, search.x, search.y, budget=search.budget, **given)
    search.spent += constants * (steps // constants)
    search.judge(result.images[0], search.rows)


def _few_pieces(search: BoundarySearch) -> bool:
    """Whether half a dozen linear pieces can say much about a boundary: not in the thousands of pixels of an image."""
    return search.budget.norm == "l2" and search.x[0].numel() <= FEW


def _cutting_planes(search: BoundarySearch, steps: int, classes: int, generator: torch.Generator) -> None:
    search.aim("margin")
    cut_planes(search, steps, generator, search.tolerance / 4)


def _auto_pgd(objective: str) -> Callable[[BoundarySearch, int, int, torch.Generator], None]:
    def stage(search: BoundarySearch, steps: int, classes: int, generator: torch.Generator) -> None:
        if steps < 2:
            return
        distance = search.distance
        radius = torch.where(torch.isfinite(distance), INSIDE * distance, search.radius)
        with search.within(search.rows, radius) as inner:
            inner.aim(objective)
            climb(inner, steps=steps - 1, generator=generator, early_stop=True)

    return stage


STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        "minimal_norm": Stage(_minimal_norm, 2),
        "closing_in": Stage(_closing_in, 3),
        "restarts": Stage(_restarts, 3),
        "pgd": Stage(_pgd),
        "carlini_wagner": Stage(_carlini_wagner, applies=lambda search: search.budget.norm == "l2"),
        "cutting_planes": Stage(_cutting_planes, 2, applies=_few_pieces),
        "auto_pgd_ce": Stage(_auto_pgd("cross_entropy")),
        "auto_pgd_dlr": Stage(_auto_pgd("dlr"), applies=lambda search: search.clean.shape[-1] > 2),
    }
)
