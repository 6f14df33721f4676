"""Attacks on explanations as released: a walk along the sign of the heatmap, and images cut to the radius.

    x <- clip(clip(x + a sign(R(x)), -e, e), 0, 1)        "top-k" and "region", a = 0.5, e = 0.2, ten times
    x <- clip(x - Adam(R(x)), mean, deviation)            "beta", learning rate 0.01, ten times

Released with "Resilience of Bayesian layer-wise explanations under adversarial attacks" (arXiv:2102.11010) as the
attacks of Ghorbani et al. 2019 and Dombrowski et al. 2019. What is wrong with it:

- The explanation is detached from the image before the loss, so nothing is ever differentiated through it. What is
  left in the image's gradient is the heatmap itself, and the step goes along its sign: top-k and region are the same
  map, whatever k, region or dissimilarity were asked for, and beta has no target.
- Not the perturbation but the image is cut to [-e, e] (top-k, region), or to [mean, deviation] of the data (beta): the
  result is a dark image, at a distance of up to 1 - e from the original.
- On an ensemble the images of the draws are averaged, see `mean_of_images`.

`holdfast.attacks.attack_explanation` differentiates through the explanation and keeps the budget.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.checks import check_count, check_images, check_range
from holdfast.ensemble import Ensemble

Explain = Callable[[Ensemble, Tensor], Tensor]  # (one draw, images [B, *image]) -> maps [B, *image]


def map_sign(
    ensemble: Ensemble, x: Tensor, explain: Explain, *, epsilon: float = 0.2, step_size: float = 0.5, steps: int = 10
) -> Tensor:
    """The released "top-k" and "region" attack: attacked images `[B, *image]`. For comparison only.

    Args:
        ensemble: the draws.
        x: images `[B, *image]` in [0, 1].
        explain: the maps of one draw, an ensemble of one.
        epsilon: to which the images are cut.
        step_size, steps: of the walk.

    >>> network = torch.nn.Linear(2, 2)
    >>> map_sign(Ensemble.from_networks(network), torch.tensor([[.9, .1]]), lambda e, x: torch.ones_like(x))
    tensor([[0.2000, 0.2000]])
    """
    check_images("map_sign", x)
    check_range("map_sign", "epsilon", epsilon, 0, 1, open_low=True)
    check_count("map_sign", "steps", steps)
    moved = torch.zeros_like(x)
    for draw in (ensemble[s] for s in range(len(ensemble))):
        images = x.detach()
        for _ in range(steps):
            images = (images + step_size * explain(draw, images).sign()).clamp(-epsilon, epsilon).clamp(0, 1)
        moved += images / len(ensemble)
    return moved


def map_descent(
    ensemble: Ensemble,
    x: Tensor,
    explain: Explain,
    *,
    mean: float = 0.1307,
    deviation: float = 0.3081,
    learning_rate: float = 0.01,
    steps: int = 10,
) -> Tensor:
    """The released "beta" attack: attacked images `[B, *image]`. For comparison only.

    Args:
        ensemble: the draws.
        x: images `[B, *image]` in [0, 1].
        explain: the maps of one draw, an ensemble of one; the release swaps ReLU for softplus in it.
        mean, deviation: of the data set's pixels, between which the images are cut.
        learning_rate, steps: of Adam.

    >>> network = torch.nn.Linear(2, 2)
    >>> map_descent(Ensemble.from_networks(network), torch.tensor([[.9, .1]]), lambda e, x: torch.ones_like(x))
    tensor([[0.2181, 0.1307]])
    """
    check_images("map_descent", x)
    check_count("map_descent", "steps", steps)
    moved = torch.zeros_like(x)
    for draw in (ensemble[s] for s in range(len(ensemble))):
        images = x.detach().clone().requires_grad_()
        adam = torch.optim.Adam([images], lr=learning_rate)
        for _ in range(steps):
            images.grad = explain(draw, images.detach()).clone()
            adam.step()
            with torch.no_grad():
                images.clamp_(mean, deviation)
        moved += images.detach() / len(ensemble)
    return moved
