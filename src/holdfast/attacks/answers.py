"""Answers: what a model says to the same images twice, how sure it is, what its gradients are; and whether answers are
of the right shape."""

from typing import Any

import torch
from torch import Tensor, nn

from holdfast.checks import check_labels
from holdfast.ensemble import Ensemble, log_predictive
from holdfast.tiles import MEMORY

TRIED = 16  # images on which derivatives are compared with differences
STEPS = (0.001, 0.01)  # of these differences, in parts of the pixel range


def answers(call: str, ensemble: Ensemble, x: Tensor, y: Tensor, *, memory: int = MEMORY) -> dict[str, Any]:
    """Figures of the checks that need no attack; without those that make no sense for this model.

    Where the same images do not get the same answers nothing else is asked; where no gradient reaches the images,
    nothing about gradients.
    """
    if not answers_alike(ensemble, x, memory=memory):
        return {"deterministic": False}
    logits = ensemble.logits(x, memory=memory)
    check_classes(call, log_predictive(logits), len(x))
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
            "derivative_kept": derivative_kept(ensemble, x),
        }
    return figures


def check_classes(call: str, answered: Tensor, images: int) -> None:
    """What a network answers to that many images must be one finite number for each of at least two classes."""
    if answered.ndim != 2 or answered.shape[-1] < 2:
        raise ValueError(
            f"{call}: the network must return logits [B, C] of at least two classes, "
            f"got {tuple(answered.shape)} for {images} images."
        )
    if not bool(torch.isfinite(answered).all()):
        raise ValueError(f"{call}: the ensemble gives NaN or infinite log probabilities on the clean images.")


def check_values(call: str, what: str, found: object, images: int) -> None:
    """What an objective or a criterion returns for that many images must be one value each."""
    if not isinstance(found, Tensor) or found.shape != (images,):
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"{call}: {what} must return one value per image, ({images},), got {got}.")


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


def derivative_kept(ensemble: Ensemble, x: Tensor) -> float | None:
    """Share of up to 16 images on which a small step changes the logits as their gradient promises.

    The lead of the first over the second class, under one draw, in float64 where the network can, is taken a step
    along and a step against the sign of its gradient; the difference must be what the gradient says within a factor of
    three, for a step of 0.1 % or of 1 % of the pixel range: a network may round on purpose, but a gradient that changes
    within less (ripples laid over the logits) tells an attack nothing. None where no image has a gradient that stands
    out from rounding errors.
    """
    first, x = ensemble[:1], x[:: -(-len(x) // TRIED)].detach()
    try:
        kept = _kept(first.to(dtype=torch.float64), x.double())
    except (RuntimeError, TypeError, ValueError):  # numbers of one precision are written into the network
        kept = _kept(first, x)
    return kept.double().mean().item() if len(kept) else None


def _kept(ensemble: Ensemble, x: Tensor) -> Tensor:
    logits = ensemble.logits(x)[0]
    top = logits.topk(2, -1).indices
    leads = lambda z, of: (z.gather(-1, of) * z.new_tensor([1, -1])).sum(-1)
    _, gradient = ensemble.value_and_gradient(x, lambda z, images: leads(z[0], top[images]))
    slope, eps = gradient.flatten(1).abs().sum(1), torch.finfo(x.dtype).eps
    kept, told = torch.zeros_like(slope, dtype=torch.bool), torch.zeros_like(slope, dtype=torch.bool)
    for share in STEPS:
        step = share * (float(x.max() - x.min()) or 1)
        ahead, behind = (leads(ensemble.logits(x + sign * step * gradient.sign())[0], top) for sign in (1, -1))
        ratio = (ahead - behind) / (2 * step * slope)
        kept |= (ratio > 1 / 3) & (ratio < 3)
        told |= 2 * step * slope > 100 * eps * logits.abs().amax(-1)
    return kept[told]


def answers_alike(ensemble: Ensemble, x: Tensor, *, memory: int = MEMORY) -> bool:
    """Whether the same images get the same logits twice."""
    try:
        first, second = (ensemble.logits(x, memory=memory) for _ in range(2))
    except RuntimeError as error:  # several draws under vmap may not draw random numbers at all
        if "random" not in str(error):
            raise
        return False
    scale = float(first.nan_to_num(0, 0, 0).abs().max())
    return torch.allclose(first, second, rtol=1e-4, atol=1e-4 * scale, equal_nan=True)


def answers_probabilities(logits: Tensor) -> bool:
    """Whether logits `[S, B, C]` look like probabilities: between 0 and 1, summing to 1."""
    return bool((logits >= 0).all() and (logits <= 1).all() and ((logits.sum(-1) - 1).abs() < 1e-3).all())


def is_differentiable(ensemble: Ensemble, x: Tensor) -> bool:
    """Whether a gradient of the logits in the images exists at all."""
    t = x[:1].detach().requires_grad_()
    with torch.enable_grad():
        logits = ensemble.call(t, slice(0, 1))
    return logits.requires_grad and torch.autograd.grad(logits.sum(), t, allow_unused=True)[0] is not None
