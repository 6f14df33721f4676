"""Figures behind the masking report: what attacks of all strengths and kinds leave right."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.attacks.attacked import Attacked, check_attacked
from holdfast.attacks.one_step import fgsm
from holdfast.attacks.projected_gradient import pgd
from holdfast.attacks.random_noise import random_noise
from holdfast.attacks.transfer import transfer
from holdfast.attacks.worst_case import worst_case
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble

SCALES = (0.01, 1.0, 100.0)
RESTARTS = 3


def basic_attacks(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    steps: int,
    gradients: bool,
    made: Mapping[str, Attacked],
    seed: int,
    memory: int,
) -> dict[str, Attacked]:
    """Random noise, and where there are gradients one step and many steps; those already made are taken as they are."""
    _check_made(made, ensemble, x, y, budget, memory)
    given = dict(budget=budget, memory=memory)
    attacks = {"random_noise": lambda: random_noise(ensemble, x, y, seed=seed, **given)}
    if gradients:
        attacks["one_step"] = lambda: fgsm(ensemble, x, y, **given)
        attacks["many_steps"] = lambda: pgd(ensemble, x, y, steps=steps, seed=seed, **given)
    return {name: made[name] if name in made else attack() for name, attack in attacks.items()}


def _check_made(
    made: Mapping[str, Attacked], ensemble: Ensemble, x: Tensor, y: Tensor, budget: Budget, memory: int
) -> None:
    """What was made before must be of these images, labels and radii, and judged by this ensemble."""
    known = ("random_noise", "one_step", "many_steps")
    for name, found in made.items():
        if name not in known:
            raise ValueError(f"masking_report: attacked may hold {', '.join(map(repr, known))}, got {name!r}.")
        check_attacked("masking_report", found)
        if found.epsilons != budget.epsilons or found.images.shape[1:] != x.shape:
            raise ValueError(
                f"masking_report: attacked[{name!r}] was made under the radii {found.epsilons} on images "
                f"{tuple(found.images.shape[1:])}, expected {budget.epsilons} and {tuple(x.shape)}."
            )
        call = f"masking_report: attacked[{name!r}]"
        if found.settings.get("norm", budget.norm) != budget.norm:
            raise ValueError(f"{call} was made under an {found.settings['norm']} budget, expected {budget.norm}.")
        if found.settings.get("targeted") or not torch.equal(found.success, found.predicted != y):
            raise ValueError(f"{call} was made for other labels, or towards targets; attack away from `y`.")
        try:
            for moved, epsilon in zip(found.images, budget.epsilons, strict=True):
                budget.assert_kept(moved, x, x.new_full((len(x),), epsilon))
        except AssertionError as error:
            raise ValueError(f"{call} was made on other images, or with other pixel bounds: {error}") from error
        both = torch.cat([x[None], found.images]).flatten(0, 1)
        said = torch.cat([found.clean_predicted[None], found.predicted]).flatten()
        others = int((ensemble.predict(both, memory=memory) != said).sum())
        if others > 0.01 * len(said):  # a tie may fall either way
            raise ValueError(
                f"{call} was judged by another ensemble: this one decides otherwise on {others} of {len(said)} images; "
                "use transfer(...) to see what it says of them."
            )


def thorough_figures(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    others: Mapping[str, Ensemble],
    steps: int,
    queries: int,
    seed: int,
    memory: int,
) -> dict[str, Any]:
    """Figures of the thorough report: what everything that can be tried at the largest radius leaves right."""
    given = dict(steps=steps, memory=memory)
    largest = Budget(budget.norm, max(budget.epsilons), budget.lower, budget.upper)
    radii = _radii(largest, x)
    by_radius = pgd(ensemble, x, y, budget=Budget(budget.norm, radii, budget.lower, budget.upper), seed=seed, **given)
    worst = worst_case(ensemble, x, y, budget=largest, queries=queries, seed=seed, **given)
    restarts = [pgd(ensemble, x, y, budget=largest, seed=seed + i, **given).accuracy(y)[0] for i in range(RESTARTS)]
    transferred = {
        name: transfer(pgd(other, x, y, budget=largest, seed=seed, **given), ensemble, x, y, memory=memory).accuracy(y)[
            0
        ]
        for name, other in others.items()
    }
    return {
        "thorough_images": len(x),
        "accuracy_by_radius": {"epsilons": radii, "accuracy": by_radius.accuracy(y)},
        "worst_case": worst.accuracy(y)[0],
        "broken_by": {name: counts[0] / len(x) for name, counts in worst.settings["broken_by"].items()},
        "restarts": restarts,
        "transferred": transferred,
        "logit_scale": {f"{s:g}": _made_at(s, ensemble, x, y, largest, seed, given) for s in SCALES},
    }


def scaled(ensemble: Ensemble, factor: float) -> Ensemble:
    """The ensemble with its logits multiplied."""
    return Ensemble(_Scaled(ensemble.network, factor).eval(), {f"network.{k}": v for k, v in ensemble.weights.items()})


class _Scaled(nn.Module):
    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.network(x)


def _made_at(
    factor: float, ensemble: Ensemble, x: Tensor, y: Tensor, budget: Budget, seed: int, given: Mapping[str, Any]
) -> float:
    """Accuracy of the ensemble on images made against its scaled copy."""
    made = pgd(scaled(ensemble, factor), x, y, budget=budget, seed=seed, **given)
    return transfer(made, ensemble, x, y, memory=given["memory"]).accuracy(y)[0]


def _radii(budget: Budget, x: Tensor) -> list[float]:
    """Half, whole and twice the radius, and the one that reaches every valid image."""
    epsilon, farthest = budget.epsilons[0], budget.farthest(x)
    return sorted({e for e in (epsilon / 2, epsilon, 2 * epsilon) if e < farthest} | {farthest})
