"""Attack on explanations: move the heatmap within a budget while the decision stays.

    raise D(R(x'), R(x))   subject to   x' in the budget,   class(x') = class(x)

Projected gradient ascent with true derivatives through the heatmap (Ghorbani, Abid, Zou 2019, arXiv 1710.10547;
Dombrowski et al. 2019, arXiv 1906.07983), with momentum and a step that shrinks along half a cosine. Derivatives may be
taken on a smoothed copy of the ensemble; whether an image is better is always decided on the original one. For several
draws the map is the posterior mean, and its derivative is pulled back block by block. A self-test says whether the
objective really rose, and whether small steps along its derivative are worth what the derivative promises: attacks that
follow something else (a detached heatmap, the derivative of another map) do not pass it.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from holdfast.attacks import masking_checks
from holdfast.attacks.answers import check_values
from holdfast.attacks.attacked import Attacked
from holdfast.attacks.check import Check
from holdfast.attacks.explanation_objectives import MapCriterion, MapObjective
from holdfast.attacks.mean_maps import Explain, mean_map_derivative, mean_maps
from holdfast.attacks.objectives import name_of
from holdfast.attacks.search import Search
from holdfast.attacks.smoothing import betas_of, check_beta, smoothed
from holdfast.budget import Budget
from holdfast.checks import check_count, check_range, check_seed
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.tiles import MEMORY

PROBE = 1e-3  # share of the radius by which a derivative is tried out
HALVINGS = 4  # how often a step that would change the decision is halved before it is given up


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class MovedExplanation(Attacked):
    """Attacked images of an attack on explanations. `success`: the decision is kept and the criterion met.

    Attributes:
        maps, clean_maps: posterior mean maps `[E, B, *image]` of the attacked and `[B, *image]` of the clean images.
        objective_before, objective_after: the objective on the clean images `[B]` and the attacked ones `[E, B]`.
        self_test: whether the objective rose, and its derivative was one, with a sentence.
    """

    maps: Tensor
    clean_maps: Tensor
    objective_before: Tensor
    objective_after: Tensor
    self_test: Check


def attack_explanation(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    explain: Explain,
    objective: MapObjective,
    budget: Budget,
    criterion: MapCriterion | None = None,
    steps: int = 100,
    step_size: float = 0.25,
    momentum: float = 0.9,
    beta: float | tuple[float, float] | Literal["auto"] | None = "auto",
    constraint: Literal["projection", "penalty", "none"] = "projection",
    n_restarts: int = 3,
    seed: int = 0,
    memory: int = MEMORY,
) -> MovedExplanation:
    """Move explanations.

    Args:
        ensemble: whose explanations are attacked; one image is made against the mean map of all its draws.
        x: images `[B, *image]` within the budget's pixel range.
        y: the class `[B]` that is explained, and kept wherever the ensemble gives it to the clean image: usually
            `ensemble.predict(x)`.
        explain: (ensemble, images `[b, ...]`, classes `[b]`) -> maps `[s, b, *image]`, differentiable in the images:
            any method of `holdfast.explanations` with `create_graph=True`, such as
            `lambda ensemble, x, y: lrp(ensemble, x, y, rule=Gamma(0.25), create_graph=True)`.
        objective: what to raise, of `holdfast.attacks.explanation_objectives`.
        budget: norm, one radius or several, and pixel range.
        criterion: when an explanation counts as moved; by default when the objective rose at all.
        steps: gradient steps of each restart.
        step_size: length of the first step in parts of the radius.
        momentum: share of the last direction that is kept.
        beta: sharpness of the softplus that replaces ReLU for the derivatives; a pair for one that grows from the
            first value to the second; None to follow the original network, whose derivatives suffice for LRP but
            vanish for gradient maps. "auto": every second start is smoothed, with a beta that grows from 5 to 100.
        constraint: "projection" halves a step that would change the decision, or leaves it out; "penalty" adds a pull
            back where the margin of the decision has become small; "none" lets decisions change. Images whose
            decision changed never count as best, unless with "none".
        n_restarts: starts at random points of the budget; where the objective has variants each two follow the next.
        seed: seed of the random starts.
        memory: budget in bytes for the work of one moment.

    Returns:
        The image with the highest objective per input and radius among those that keep the decision; where a criterion
        is given, among those that meet it as long as one did. What succeeds within a radius is handed up to the larger
        ones, so success never falls with the radius.

    >>> from holdfast.attacks.explanation_objectives import top_k
    >>> network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble, x = Ensemble.from_networks(network), torch.rand(4, 6)
    >>> def gradient_times_input(ensemble, x, y):
    ...     score = ensemble.call(x).gather(-1, y.expand(len(ensemble), -1)[..., None]).sum()
    ...     return (x * torch.autograd.grad(score, x, create_graph=True)[0])[None]
    >>> result = attack_explanation(
    ...     ensemble, x, ensemble.predict(x), explain=gradient_times_input, objective=top_k(30),
    ...     budget=Budget("linf", .2), steps=5, beta=5.,
    ... )
    >>> bool(result.label_kept.all()), bool((result.objective_after >= result.objective_before).all())
    (True, True)
    """
    call = "attack_explanation"
    check_count(call, "steps", steps)
    check_count(call, "n_restarts", n_restarts)
    check_range(call, "step_size", step_size, 0, 1e6, open_low=True)
    check_range(call, "momentum", momentum, 0, 1)
    check_seed(call, seed)
    for name, function in (("explain", explain), ("objective", objective), ("criterion", criterion)):
        if not callable(function) and not (name == "criterion" and function is None):
            raise TypeError(f"{call}: {name} must be a function, such as top_k(20) for an objective, got {function!r}.")
    check_beta(call, beta)
    if constraint not in ("projection", "penalty", "none"):
        raise ValueError(f"{call}: constraint must be 'projection', 'penalty' or 'none', got {constraint!r}.")
    search = Search(call, ensemble, x, y, budget=budget, memory=memory)
    if smooth := [b for restart in range(n_restarts) for b in betas_of(beta, 1, restart) if b is not None]:
        smoothed(ensemble, smooth[0]).logits(x[:1])  # what cannot be smoothed says so before any work
    run = _Run(search, explain, objective, constraint, criterion)
    guides = (objective, *getattr(objective, "variants", ()))
    generator = torch.Generator().manual_seed(seed)
    for restart in range(n_restarts):
        start = budget.random(search.x, search.radius, generator)
        run.guide = guides[restart // 2 % len(guides)]
        run.climb(start, betas_of(beta, steps, restart), step_size, momentum)
    settings = dict(steps=steps, step_size=step_size, momentum=momentum, beta=beta, n_restarts=n_restarts, seed=seed)
    return run.finish(settings)


class _Run:
    """One attack under way: the maps of the clean images, and the best image found so far for every row."""

    def __init__(
        self,
        search: Search,
        explain: Explain,
        objective: MapObjective,
        constraint: str,
        criterion: MapCriterion | None = None,
    ) -> None:
        self.search, self.explain, self.objective, self.constraint = search, explain, objective, constraint
        self.criterion = criterion
        self.guide = objective  # whose derivative is followed
        count = len(search.clean)
        self.images = torch.arange(count, device=search.x.device).repeat(len(search.budget.epsilons))
        self.decision = search.clean.argmax(-1).repeat(len(search.budget.epsilons))
        self.clean_maps = self._maps(search.ensemble, search.x[:count], search.y[:count])
        self.before = objective(self.clean_maps, self.clean_maps, self.images[:count])
        check_values(search.call, "the objective", self.before, count)
        self.value = self.before.repeat(len(search.budget.epsilons))
        self.met = torch.zeros_like(search.success)  # the criterion, with the decision kept, by the best image
        self.followed = 0.0

    def climb(self, start: Tensor, betas: list[float | None], step_size: float, momentum: float) -> None:
        search, moved = self.search, self._allowed(start, self.search.x)
        velocity = torch.zeros_like(moved)
        self.followed = max(self.followed, self._follows(moved, betas[0]))
        for step, beta in enumerate(track(betas, "attacking explanations")):
            model = search.ensemble if beta is None else smoothed(search.ensemble, beta)
            gradient = search.budget.free(self._gradient(model, moved), moved)
            size = gradient.flatten(1).abs().mean(1).clamp(min=torch.finfo(gradient.dtype).tiny)
            velocity = momentum * velocity + gradient / search.spread(size)
            direction = search.budget.steepest(velocity)
            if self.constraint == "penalty":
                direction = direction + self._pull(moved)
            stride = search.spread(search.radius) * step_size * _cosine(step / len(betas))
            moved = self._allowed(search.project(moved + stride * direction, search.rows), moved)
            self._note(moved)

    def finish(self, settings: dict) -> MovedExplanation:
        search, shape = self.search, (len(self.search.budget.epsilons), -1)
        settings |= dict(objective=name_of(self.objective), constraint=self.constraint)
        settings |= dict(criterion=name_of(self.criterion) if self.criterion else "objective rose")
        maps = self._maps(search.ensemble, search.best, search.y)
        after = self.objective(maps, self.clean_maps[self.images], self.images).view(shape)
        moved = self._moved(maps).view(shape) if self.criterion else after > self.before
        success = moved & self._keeps(search.best).view(shape)
        maps, images = (t.unflatten(0, shape) for t in (maps, search.best))
        self._hand_up(success, after, images, maps)
        plain = search.finish("attack_explanation", settings)
        rose = {
            "objective_rose": (after > self.before).double().mean().item(),
            "objective_gain": (after - self.before).mean().item(),
            "derivative_followed": self.followed,
        }
        masking = masking_checks.of(rose | dict(plain.masking.figures))
        parts = plain.__dict__ | {"success": success, "masking": masking}
        return MovedExplanation(
            **parts, maps=maps, clean_maps=self.clean_maps, objective_before=self.before, objective_after=after,
            self_test=masking.checks[0],
        )  # fmt: skip

    def _hand_up(self, success: Tensor, value: Tensor, *found: Tensor) -> None:
        """What was found within a radius is within every larger one: write it there where it is better, in place."""
        epsilons = self.search.budget.epsilons
        for small, large in pairwise(sorted(range(len(epsilons)), key=epsilons.__getitem__)):
            higher = (success[small] == success[large]) & (value[small] > value[large])
            better = (success[small] & ~success[large]) | higher
            for t in (success, value, *found):
                t[large] = torch.where(better.view(-1, *[1] * (t[large].ndim - 1)), t[small], t[large])

    def _follows(self, moved: Tensor, beta: float | None) -> float:
        """On how many of the images with a derivative a small step moves the maps as it promises, within a factor of 2.

        The objective counts as linear, since some hold a part of themselves constant in their derivative.
        """
        search = self.search
        model = search.ensemble if beta is None else smoothed(search.ensemble, beta)
        gradient = self._gradient(model, moved)
        step = search.spread(PROBE * search.radius) * search.budget.steepest(gradient)
        ahead, here, behind = (self._maps(model, moved + sign * step, search.y) for sign in (1, 0, -1))
        here.requires_grad_()
        value = self.guide(here, self.clean_maps[self.images], self.images)
        (slope,) = torch.autograd.grad(value.sum(), here)
        promised = 2 * (gradient * step).flatten(1).sum(1)
        kept = (slope * (ahead - behind)).flatten(1).sum(1) / promised
        kept = kept[promised > 0]  # the derivative of a gradient map vanishes between kinks
        return ((kept > 0.5) & (kept < 2)).double().mean().item() if len(kept) else 0.0

    def _note(self, moved: Tensor) -> None:
        maps = self._maps(self.search.ensemble, moved, self.search.y)
        value = self.objective(maps, self.clean_maps[self.images], self.images)
        keeps = self._keeps(moved)
        met = self._moved(maps) & keeps if self.criterion else torch.zeros_like(keeps)
        better = (met & ~self.met) | ((met == self.met) & (value > self.value))  # the criterion is the verdict
        if self.constraint != "none":
            better &= keeps
        self.search.best = torch.where(self.search.spread(better), moved, self.search.best)
        self.value = torch.where(better, value, self.value)
        self.met |= met

    def _moved(self, maps: Tensor) -> Tensor:
        """Where the criterion is met `[N]`."""
        found = self.criterion(maps, self.clean_maps[self.images], self.images)
        check_values(self.search.call, "the criterion", found, len(self.images))
        return found.bool()

    def _keeps(self, moved: Tensor) -> Tensor:
        return self.search.ensemble.predict(moved, memory=self.search.memory) == self.decision

    def _allowed(self, proposal: Tensor, from_where: Tensor) -> Tensor:
        """The proposals, those that would change a decision drawn back towards where they came from."""
        if self.constraint != "projection":
            return proposal
        for _ in range(HALVINGS):
            bad = ~self._keeps(proposal)
            if not bool(bad.any()):
                return proposal
            half = self.search.project((proposal + from_where) / 2, self.search.rows)
            proposal = torch.where(self.search.spread(bad), half, proposal)
        return torch.where(self.search.spread(self._keeps(proposal)), proposal, from_where)

    def _pull(self, moved: Tensor) -> Tensor:
        """A step towards the decision for images whose margin has fallen below a tenth of the clean image's."""
        log_p = self.search.clean
        top = log_p.topk(2, -1).values
        enough = 0.1 * (top[:, 0] - top[:, 1])[self.images]

        def safety(logits: Tensor, images: slice) -> Tensor:
            return -self.search.objective(logits, self.decision[images])  # minus the margin of being wrong

        value, gradient = self.search.ensemble.value_and_gradient(moved, safety, memory=self.search.memory)
        return self.search.steepest(gradient, moved) * self.search.spread(1.0 * (value < enough))

    def _maps(self, ensemble: Ensemble, x: Tensor, y: Tensor) -> Tensor:
        """Posterior mean maps `[N, *image]`, without their graphs."""
        return mean_maps(ensemble, x, y, self.explain, self.search.memory)

    def _gradient(self, ensemble: Ensemble, x: Tensor) -> Tensor:
        """Derivative of the objective in the images, through the mean map."""

        def value(maps: Tensor, rows: slice) -> Tensor:
            images = self.images[rows]
            return self.guide(maps, self.clean_maps[images], images)

        return mean_map_derivative(ensemble, x, self.search.y, self.explain, value, self.search.memory)


def _cosine(share: float) -> float:
    """The step that is left after a share of the steps: from 1 to 2 % along half a cosine."""
    return 0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2
