"""Integrated gradients: the gradient averaged along the straight line from a baseline, times the way gone.

    map_s(x) = (x - x') * integral_0^1  dF_s/dx (x' + a (x - x')) da,      sum over pixels = F_s(x) - F_s(x')

The integral is a weighted sum over `steps` points of [0, 1]. Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep
Networks", arXiv:1703.01365.
"""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.gradients import weighted_gradients
from holdfast.explanations.target import Of, Target, explained, settle
from holdfast.tiles import MEMORY

Quadrature = Literal["gauss_legendre", "middle", "left", "right", "trapezoid"]
Baseline = float | Tensor


def integrated_gradients(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    of: Of = "score",
    baseline: Baseline = 0.0,
    steps: int = 32,
    quadrature: Quadrature = "gauss_legendre",
    multiply: bool = True,
    create_graph: bool = False,
    memory: int = MEMORY,
) -> Tensor:
    """Integrated gradients of every draw.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average.
        of: the number that is explained; see `holdfast.explanations.target`.
        baseline: where the line starts: a number, one image `[*image]`, or an image for each `[B, *image]`.
        steps: points of the quadrature; at least 1, and 2 for the trapezoid rule.
        quadrature: "gauss_legendre", or a Riemann sum: "left", "middle", "right", "trapezoid".
        multiply: by the way gone, `x - x'`; without it the map is the mean gradient on the line, which does not add up.
        create_graph: make the maps differentiable in `x`, the baseline and the weights.
        memory: budget in bytes; the maps do not depend on it.

    Returns:
        maps `[S, B, *image]` in units of the explained number; `[1, B, *image]` for "log_predictive". How far their
        sums are from the exact difference says `completeness_error`.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> network, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double(), torch.rand(4, 3).double()
    >>> maps = integrated_gradients(network, x, 1)
    >>> bool(completeness_error(network, x, maps, 1).abs().max() < 1e-12)
    True
    """
    call = "integrated_gradients"
    ensemble, target = settle(call, ensemble, x, target, memory=memory, differentiable=create_graph)
    places, weights = _quadrature(call, quadrature, steps)
    start = baseline_image(call, baseline, x)
    way = x - start

    def points(numbers: range) -> Tensor:
        place = x.new_tensor([places[k] for k in numbers])
        return start + place.view(-1, *[1] * x.ndim) * way

    maps = weighted_gradients(
        call, ensemble, x, target, points, weights, of=of, create_graph=create_graph, memory=memory
    )
    if not multiply:
        return maps
    return way * maps if create_graph else maps.mul_(way.detach())


def completeness_error(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    maps: Tensor,
    target: Target = None,
    *,
    of: Of = "score",
    baseline: Baseline = 0.0,
    memory: int = MEMORY,
) -> Tensor:
    """How far maps are from adding up to the explained number: `sum over pixels - (F_s(x) - F_s(x'))`.

    Args:
        ensemble, x, target, of, baseline, memory: as they were given to the method that made the maps.
        maps: what `integrated_gradients` or `deep_lift` returned.

    Returns:
        errors `[S, B]` in units of the explained number; `[1, B]` for "log_predictive".

    >>> network, x = nn.Linear(3, 2), torch.rand(4, 3)
    >>> completeness_error(network, x, torch.zeros(1, 4, 3), 0).shape
    torch.Size([1, 4])
    """
    call = "completeness_error"
    ensemble, target = settle(call, ensemble, x, target, memory=memory)
    start = baseline_image(call, baseline, x).expand_as(x)
    end, begin = (explained(call, of, ensemble.logits(t.detach(), memory=memory), target) for t in (x, start))
    if maps.shape != (len(end), *x.shape):
        raise ValueError(f"{call}: expected maps of shape {(len(end), *x.shape)}, got {tuple(maps.shape)}.")
    return maps.detach().flatten(2).sum(-1) - (end - begin)


def baseline_image(call: str, baseline: Baseline, x: Tensor) -> Tensor:
    """The baseline as a tensor that meets images `x`: `[B, *image]` or broadcast to it."""
    if isinstance(baseline, int | float) and not isinstance(baseline, bool):
        baseline = x.new_full((1,) * x.ndim, baseline)
    if not isinstance(baseline, Tensor):
        raise TypeError(f"{call}: baseline must be a number or a tensor, got {type(baseline).__name__}.")
    if baseline.shape not in (x.shape, x.shape[1:], (1,) * x.ndim, (1, *x.shape[1:])):
        raise ValueError(
            f"{call}: baseline must be a number, one image {tuple(x.shape[1:])} or one per image {tuple(x.shape)}, "
            f"got {tuple(baseline.shape)}."
        )
    if baseline.dtype != x.dtype or not torch.isfinite(baseline).all():
        raise ValueError(f"{call}: baseline must hold finite values of {x.dtype}, got {baseline.dtype}.")
    return baseline.to(x.device)


def _quadrature(call: str, quadrature: Quadrature, steps: int) -> tuple[list[float], list[float]]:
    """Places and weights of a quadrature on [0, 1]; the weights add up to one."""
    if quadrature not in get_args(Quadrature):
        names = ", ".join(map(repr, get_args(Quadrature)))
        raise ValueError(f"{call}: quadrature must be one of {names}, got {quadrature!r}.")
    least = 2 if quadrature == "trapezoid" else 1
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < least:
        raise ValueError(f"{call}: steps must be an integer of at least {least} for {quadrature!r}, got {steps!r}.")
    if quadrature == "gauss_legendre":
        place, weight = np.polynomial.legendre.leggauss(steps)
        return ((place + 1) / 2).tolist(), (weight / 2).tolist()
    if quadrature == "trapezoid":
        weight = np.full(steps, 1 / (steps - 1))
        weight[[0, -1]] /= 2
        return np.linspace(0, 1, steps).tolist(), weight.tolist()
    shift = {"left": 0.0, "middle": 0.5, "right": 1.0}[quadrature]
    return ((np.arange(steps) + shift) / steps).tolist(), [1 / steps] * steps
