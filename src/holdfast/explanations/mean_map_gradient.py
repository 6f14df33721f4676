"""Gradient of an objective of the posterior mean relevance map, in bounded memory: what attacks on explanations need.

The objective J sees the draws only through their mean map M = (1/S) sum_s R_s, so its gradient in the images is

    dJ/dx = (1/S) sum_s (dR_s/dx)^T dJ/dM

First M is made without a graph, then dJ/dM is pulled back tile by tile, one graph at a time: exact, whatever S. The
gradient goes through the explanation itself, second derivatives of the network included.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.lrp import class_targets
from holdfast.explanations.relevance.composites import Composite, composite
from holdfast.explanations.relevance.explainer import Explainer
from holdfast.explanations.relevance.heatmap import INPUT
from holdfast.explanations.relevance.rules import Epsilon, Rule
from holdfast.explanations.relevance.starts import Start, check_start
from holdfast.explanations.target import as_ensemble, check_fit
from holdfast.progress import track
from holdfast.tiles import MEMORY, Tile, Walk

MapObjective = Callable[[Tensor, slice], Tensor]  # (mean maps [b, *image], which images) -> one value per image [b]


def mean_map_gradient(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    objective: MapObjective,
    target: Tensor | int | None = None,
    *,
    rule: Rule | Composite | Any = Epsilon(),  # noqa: B008, immutable
    start: Start = "logit",
    memory: int = MEMORY,
) -> tuple[Tensor, Tensor]:
    """An objective of the mean relevance map over draws, and its gradient in the images.

    Args:
        ensemble: the networks; a single `nn.Module` is an ensemble of one.
        x: images `[B, ...]`. Where all are at least zero, derivatives at zero are those from above.
        objective: (mean maps `[b, *image]`, slice of images) -> one value per image `[b]`.
        target: the class to explain, one per image `[B]` or one for all; None for that of the model average at `x`.
        rule: a rule, a composite, or a function from `Layer` to rule.
        start: where relevance begins, see `lrp`.
        memory: budget in bytes; the answer does not depend on it.

    Returns:
        values `[B]` and gradient `[B, ...]`.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 3))
    >>> values, gradient = mean_map_gradient(net, torch.rand(2, 4), lambda maps, images: maps[:, 0])
    >>> values.shape, gradient.shape
    (torch.Size([2]), torch.Size([2, 4]))
    """
    ensemble = as_ensemble("mean_map_gradient", ensemble)
    check_fit("mean_map_gradient", ensemble, x)
    check_start("mean_map_gradient", start)
    x = x.detach()
    targets = class_targets("mean_map_gradient", ensemble, x, target, memory)
    rules = composite("mean_map_gradient", rule, ensemble.network)
    explain = Explainer(ensemble, rules, start, [INPUT], nonneg=bool((x >= 0).all()))
    values, gradient = [], torch.empty_like(x)
    blocks = track(list(ensemble.tiles(x, memory)), "gradient of maps")
    at = lambda block: (x[block[0].images], targets[:, block[0].images])
    for block, (value, slope) in Walk().blocks(blocks, lambda block: _block(explain, *at(block), objective, block)):
        gradient[block[0].images] = slope
        values.append(value)
    return torch.cat(values), gradient


def _block(
    explain: Explainer, x: Tensor, targets: Tensor, objective: MapObjective, block: list[Tile]
) -> tuple[Tensor, Tensor]:
    """Value and gradient for one block of images, all draws."""
    draws = len(explain.ensemble)
    maps = lambda t, tile: explain(t, {"": targets[tile.draws]}, tile.draws)[INPUT].sum(0) / draws
    if len(block) == 1:  # every draw fits into one graph: no need to make it twice
        t = x.clone().requires_grad_()
        with torch.enable_grad():
            value = objective(maps(t, block[0]), block[0].images)
            return value.detach(), torch.autograd.grad(value.sum(), t)[0]
    with torch.no_grad():
        mean = sum(maps(x, tile) for tile in block)
    with torch.enable_grad():
        mean.requires_grad_()
        value = objective(mean, block[0].images)
        (back,) = torch.autograd.grad(value.sum(), mean)
        total = torch.zeros_like(x)
        for tile in block:
            t = x.clone().requires_grad_()
            total += torch.autograd.grad((maps(t, tile) * back).sum(), t)[0]
    return value.detach(), total
