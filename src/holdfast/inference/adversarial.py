"""adversarial: one network trained on images that are attacked anew in every batch.

    w* = argmin_w  1/N sum_i  max_{d in budget} -log p(y_i | x_i + d, w)

with the inner maximum by projected gradient steps from a random point of the budget (Madry et al. 2018,
arXiv:1706.06083), or by a single sign step from one (Wong, Rice and Kolter 2020, arXiv:2001.03994). True labels.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.budget import Budget
from holdfast.checks import check_kind, check_range, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.fingerprint import data_of
from holdfast.inference.seeds import stream
from holdfast.inference.training import (
    Training,
    as_ensemble,
    check_count,
    check_problem,
    cross_entropy,
    digest,
    initial_or_trained,
    member_logits,
    private_random_state,
    train,
)

DEFAULT = Training(epochs=15)


def adversarial(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    budget: Budget,
    attack: Literal["pgd", "fgsm"] = "pgd",
    steps: int = 7,
    clean_share: float = 0.0,
    training: Training = DEFAULT,
    initial: Ensemble | None = None,
) -> Ensemble:
    """Train one network on attacked images: an ensemble of one.

    The attack sees the network in evaluation mode, at the weights of the moment, and starts from a random point of
    the budget. "pgd" takes `steps` steps of `2.5 / steps` radii, "fgsm" one step of 1.25 radii; both are projected
    onto the budget. The radius grows from zero over the first fifth of the epochs, which keeps training from
    collapsing to a constant answer.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to train.
        seed: of the initial weights, the batch order, the random starts and layers that draw random numbers.
        budget: norm, one radius and the pixel range.
        attack: "pgd" or "fgsm".
        steps: gradient steps of "pgd".
        clean_share: share of each batch, 0 to 1, that stays as it is.
        training: epochs, batch size, optimiser, learning rate and its schedule.
        initial: a trained network to go on from, in place of He-scaled weights.

    Raises:
        ValueError: for data that do not fit the network or the budget, or a budget of several radii.
        FloatingPointError: where the loss stops being finite.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> robust = adversarial(nn.Linear(2, 2), data, seed=0, budget=Budget("linf", 0.1), training=Training(epochs=2))
    >>> robust.diagnostics.settings["attack"]
    'pgd'
    """
    call = "inference.adversarial"
    shell = check_problem(call, network, data)
    check_seed(call, seed)
    _check(call, budget, attack, steps, clean_share, data)
    check_kind(call, "training", training, Training)
    still = skeleton(network)  # evaluation mode, for the attack
    (radius,) = budget.epsilons
    parameters, buffers = initial_or_trained(call, network, [seed], data, initial)
    for p in parameters.values():
        p.requires_grad_()
    starts = stream(seed, "random starts")
    growth = _Growth(training.epochs)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        weights = {k: v.detach().squeeze(0) for k, v in (*parameters.items(), *buffers.items())}
        forward = lambda x: functional_call(still, weights, (x,))
        clean = round(clean_share * images.shape[1])
        x, y = images[0, clean:], labels[0, clean:]
        if len(x):
            x = attack_batch(forward, x, y, budget, radius * growth.share, attack, steps, starts)
        images = torch.cat([images[0, :clean], x])[None]
        return cross_entropy(member_logits(shell, {**parameters, **buffers}, images), labels)

    with private_random_state(seed, data.images.device):
        groups = [(list(parameters.values()), 1.0)]
        curve = train(call, groups, loss, data, training, [stream(seed, "order")], after_epoch=growth.advance)
    settings = {"seed": seed, "budget": asdict(budget), "attack": attack, "steps": steps, "clean_share": clean_share}
    settings |= {"data": data_of(data)}
    settings |= {**asdict(training), "initial": digest(initial)}
    diagnostics = Diagnostics("adversarial", settings, {"final_loss": curve[-1]}, {"loss": curve})
    return replace(as_ensemble(network, parameters, buffers), diagnostics=diagnostics)


def attack_batch(
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    budget: Budget,
    radius: float,
    attack: str,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Images of the budget that raise the cross-entropy of the true labels; the budget is asserted."""
    steps, size = (1, 1.25 * radius) if attack == "fgsm" else (steps, 2.5 * radius / steps)
    radii = torch.full((len(images),), radius, dtype=images.dtype, device=images.device)
    moved = budget.random(images, radii, generator)
    for _ in range(steps):
        moved.requires_grad_()
        with torch.enable_grad():
            loss = F.cross_entropy(forward(moved), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = budget.project(moved.detach() + size * budget.steepest(gradient), images, radii)
    budget.assert_kept(moved, images, radii)
    return moved


class _Growth:
    """Share of the radius in use: rises over the first fifth of the epochs, from its first step to 1."""

    def __init__(self, epochs: int) -> None:
        self.rising = max(1, epochs // 5)
        self.share = 1 / self.rising

    def advance(self, done: int) -> None:
        self.share = min(1.0, (done + 1) / self.rising)


def _check(call: str, budget: Budget, attack: str, steps: int, clean_share: float, data: Split) -> None:
    if len(budget.epsilons) != 1:
        raise ValueError(f"{call}: the budget must have one radius, got {budget.epsilons}.")
    if attack not in ("pgd", "fgsm"):
        raise ValueError(f"{call}: attack must be 'pgd' or 'fgsm', got {attack!r}.")
    check_count(call, "steps", steps)
    check_range(call, "clean_share", clean_share, 0, 1)
    budget.check_inside(call, data.images)
