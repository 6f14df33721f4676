"""Masking report: signs that a model looks robust only because the attack on it failed.

A model whose gradients are masked (saturated, rounded away, cut off, drawn at random) survives gradient attacks without
being robust (Athalye, Carlini, Wagner 2018, arXiv 1802.00420; Carlini et al. 2019, arXiv 1902.06705). Each check below
has a pass rule and says in one plain sentence what a failure means.

    saturation      share of images whose largest probability rounds to 1
    zero_gradient   share of (draw, image) pairs where the gradient of the ordinary cross-entropy is exactly zero
    order           accuracy must fall from random noise over one step to many steps
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.attacked import Check
from holdfast.attacks.one_step import fgsm
from holdfast.attacks.projected_gradient import pgd
from holdfast.attacks.random_noise import random_noise
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY

SLACK = 0.01  # share of the images by which a weaker attack may seem stronger, by chance


@dataclass(frozen=True)
class Masking:
    """All checks of one ensemble under one budget, with the figures behind them. Prints as a table.

    Attributes:
        checks: the checks, in order.
        figures: plain numbers and lists, ready for JSON.
    """

    checks: tuple[Check, ...]
    figures: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if not check.passed)

    def __str__(self) -> str:
        return "\n".join(f"{'pass' if c.passed else 'FAIL'}  {c.name}: {c.sentence}" for c in self.checks)


def masking_report(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    steps: int = 40,
    seed: int = 0,
    memory: int = MEMORY,
) -> Masking:
    """Look for masked gradients of an ensemble under the largest radius of a budget.

    Args:
        ensemble: what was, or will be, attacked.
        x: images `[B, *image]` within the budget's pixel range.
        y: true labels `[B]`.
        budget: norm, radii and pixel range.
        steps: gradient steps of the strongest attack.
        seed: seed of noise and starts.
        memory: budget in bytes for the work of one moment.

    >>> network = torch.nn.Linear(4, 2, bias=False)
    >>> network.weight.data = 500 * torch.tensor([[1., 1., 0., 0.], [0., 0., 1., 1.]])
    >>> x = torch.tensor([[.9, .9, .1, .1], [.1, .1, .9, .9]])
    >>> report = masking_report(Ensemble.from_networks(network), x, torch.tensor([0, 1]), budget=Budget("linf", .5))
    >>> report.failed
    ('saturation', 'zero_gradient')
    """
    saturated = saturation_rate(ensemble, x, memory=memory)
    zero = zero_gradients(ensemble, x, y, memory=memory)
    attacked = {
        "random_noise": random_noise(ensemble, x, y, budget=budget, seed=seed, memory=memory),
        "one_step": fgsm(ensemble, x, y, budget=budget, memory=memory),
        "many_steps": pgd(ensemble, x, y, budget=budget, steps=steps, seed=seed, memory=memory),
    }
    accuracy = {"clean": (ensemble.predict(x, memory=memory) == y).double().mean().item()}
    accuracy |= {name: result.accuracy(y) for name, result in attacked.items()}
    figures = {
        "epsilons": list(budget.epsilons),
        "saturation_rate": saturated,
        "zero_gradient_rate": zero.double().mean().item(),
        "zero_gradient_rate_per_draw": zero.double().mean(1).tolist(),
        "zero_gradient_rate_per_image": zero.double().mean(0).tolist(),
        "images_without_any_gradient": zero.all(0).double().mean().item(),
        "accuracy": accuracy,
        "size_linf": {name: result.size_linf.mean(1).tolist() for name, result in attacked.items()},
        "size_l2": {name: result.size_l2.mean(1).tolist() for name, result in attacked.items()},
    }
    return Masking((_saturation(figures), _zero_gradient(figures), _order(figures)), figures)


def saturation_rate(ensemble: Ensemble, x: Tensor, *, memory: int = MEMORY) -> float:
    """Share of (draw, image) pairs whose largest softmax probability is exactly 1 in the ensemble's own precision."""
    return (ensemble.logits(x, memory=memory).softmax(-1).amax(-1) == 1).double().mean().item()


def zero_gradients(ensemble: Ensemble, x: Tensor, y: Tensor, *, memory: int = MEMORY) -> Tensor:
    """`[S, B]`: whether the input gradient of a draw's cross-entropy, taken the ordinary way, is exactly zero."""

    def ordinary(labels: Tensor, logits: Tensor, images: slice) -> Tensor:
        return torch.nn.functional.cross_entropy(logits[0], labels[images], reduction="none")

    zero = []
    for draw in range(len(ensemble)):
        one = ensemble[draw : draw + 1]
        _, gradient = one.value_and_gradient(x, lambda logits, images: ordinary(y, logits, images), memory=memory)
        zero.append((gradient.flatten(1) == 0).all(1))
    return torch.stack(zero)


def _saturation(figures: Mapping[str, Any]) -> Check:
    rate = figures["saturation_rate"]
    return Check(
        "saturation",
        rate <= 0.1,
        rate,
        "at most 10 % of the probabilities round to 1",
        f"{rate:.1%} of the largest probabilities are exactly 1"
        + ("." if rate <= 0.1 else ": probabilities hide the logits, and attacks that use them fail for that reason."),
    )


def _zero_gradient(figures: Mapping[str, Any]) -> Check:
    rate = figures["zero_gradient_rate"]
    return Check(
        "zero_gradient",
        rate <= 0.01,
        rate,
        "at most 1 % of the gradients are exactly zero",
        f"{rate:.1%} of the gradients of the ordinary cross-entropy are exactly zero"
        + ("." if rate <= 0.01 else ": an attack that follows them does not move there, which is no robustness."),
    )


def _order(figures: Mapping[str, Any]) -> Check:
    accuracy = figures["accuracy"]
    rows = [("random noise", accuracy["random_noise"]), ("one step", accuracy["one_step"])]
    rows.append(("many steps", accuracy["many_steps"]))
    broken = [
        f"{weak} leaves {w:.1%} right, {strong} {s:.1%}"
        for (weak, weaker), (strong, stronger) in pairwise(rows)
        for w, s in zip(weaker, stronger, strict=True)
        if s > w + SLACK
    ]
    listed = ", ".join(f"{name} {values[-1]:.1%}" for name, values in rows)
    return Check(
        "order",
        not broken,
        {name: values for name, values in rows},
        f"accuracy falls from random noise to one step to many steps (within {SLACK:.0%})",
        f"accuracy clean {accuracy['clean']:.1%}, {listed}."
        if not broken
        else f"a weaker attack does more harm than a stronger one ({'; '.join(broken)}): gradients mislead the search.",
    )
