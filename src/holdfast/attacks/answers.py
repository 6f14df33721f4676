"""Answers: what a model says to the same images twice, how sure it is, and what its gradients are."""

from typing import Any

import torch
from torch import Tensor, nn

from holdfast.checks import check_labels
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY


def answers(call: str, ensemble: Ensemble, x: Tensor, y: Tensor, *, memory: int = MEMORY) -> dict[str, Any]:
    """Figures of the checks that need no attack; without those that make no sense for this model.

    Where the same images do not get the same answers nothing else is asked; where no gradient reaches the images,
    nothing about gradients.
    """
    if not answers_alike(ensemble, x, memory=memory):
        return {"deterministic": False}
    logits = ensemble.logits(x, memory=memory)
    check_labels(call, y, len(x), logits.shape[-1])
    figures = {
        "deterministic": True,
        "classes": logits.shape[-1],
        "differentiable": is_differentiable(ensemble, x),
        "probabilities": answers_probabilities(logits),
        "saturation_rate": saturated(logits),
    }
    if figures["differentiable"]:
        zero = zero_gradients(ensemble, x, y, memory=memory)
        figures |= {
            "zero_gradient_rate": zero.double().mean().item(),
            "zero_gradient_rate_per_draw": zero.double().mean(1).tolist(),
            "zero_gradient_rate_per_image": zero.double().mean(0).tolist(),
            "images_without_any_gradient": zero.all(0).double().mean().item(),
        }
    return figures


def saturation_rate(ensemble: Ensemble, x: Tensor, *, memory: int = MEMORY) -> float:
    """Share of (draw, image) pairs whose largest softmax probability is exactly 1 in the ensemble's own precision."""
    return saturated(ensemble.logits(x, memory=memory))


def saturated(logits: Tensor) -> float:
    """The same from logits `[S, B, C]`."""
    return (logits.softmax(-1).amax(-1) == 1).double().mean().item()


def zero_gradients(ensemble: Ensemble, x: Tensor, y: Tensor, *, memory: int = MEMORY) -> Tensor:
    """`[S, B]`: whether the input gradient of a draw's cross-entropy, taken the ordinary way, is exactly zero."""

    def ordinary(logits: Tensor, images: slice) -> Tensor:
        return nn.functional.cross_entropy(logits[0], y[images], reduction="none")

    zero = []
    for draw in range(len(ensemble)):
        _, gradient = ensemble[draw : draw + 1].value_and_gradient(x, ordinary, memory=memory)
        zero.append((gradient.flatten(1) == 0).all(1))
    return torch.stack(zero)


def answers_alike(ensemble: Ensemble, x: Tensor, *, memory: int = MEMORY) -> bool:
    """Whether the same images get the same logits twice."""
    try:
        first, second = (ensemble.logits(x, memory=memory) for _ in range(2))
    except RuntimeError as error:  # several draws under vmap may not draw random numbers at all
        if "random" not in str(error):
            raise
        return False
    return torch.allclose(first, second, rtol=1e-4, atol=1e-4 * float(first.abs().max()))


def answers_probabilities(logits: Tensor) -> bool:
    """Whether logits `[S, B, C]` look like probabilities: between 0 and 1, summing to 1."""
    return bool((logits >= 0).all() and (logits <= 1).all() and ((logits.sum(-1) - 1).abs() < 1e-3).all())


def is_differentiable(ensemble: Ensemble, x: Tensor) -> bool:
    """Whether a gradient of the logits in the images exists at all."""
    t = x[:1].detach().requires_grad_()
    with torch.enable_grad():
        logits = ensemble.call(t, slice(0, 1))
    return logits.requires_grad and torch.autograd.grad(logits.sum(), t, allow_unused=True)[0] is not None
