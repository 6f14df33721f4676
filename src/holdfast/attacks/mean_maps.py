"""Posterior mean maps, and derivatives of what an attack wants of them, in blocks of bounded memory.

    R(x) = 1/S sum_s R_s(x),        d/dx v(R(x)) = 1/S sum_s (dR_s/dx)' v'(R(x))

The derivative of the value by the mean map comes first; it is then pulled back through the maps of each block of draws,
so the graphs of all draws are never alive at once.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.ensemble import Ensemble
from holdfast.tiles import Tile, Walk, tiles

Explain = Callable[[Ensemble, Tensor, Tensor], Tensor]  # (ensemble, x [b, ...], class [b]) -> maps [s, b, *image]
Value = Callable[[Tensor, slice], Tensor]  # (mean maps [b, *image], which of the images) -> value of each [b]
SECOND_ORDER = 6  # memory of a derivative through a heatmap, in units of a forward pass


def mean_maps(ensemble: Ensemble, x: Tensor, y: Tensor, explain: Explain, memory: int) -> Tensor:
    """Posterior mean maps `[N, *image]`, without their graphs."""

    def mean(block: list[Tile]) -> Tensor:
        t, labels = x[block[0].images].detach(), y[block[0].images]
        return sum(_sum_of(ensemble, t, labels, explain, tile.draws).detach() for tile in block) / len(ensemble)

    return torch.cat([maps for _, maps in Walk().blocks(_blocks(ensemble, x, memory), mean)])


def mean_map_derivative(
    ensemble: Ensemble, x: Tensor, y: Tensor, explain: Explain, value: Value, memory: int
) -> Tensor:
    """Derivative `[N, *image]` in the images of the summed values of their mean maps.

    Raises:
        ValueError: the values or the maps have no derivative, or one that is not finite.
    """
    draws = len(ensemble)

    def pulled_back(block: list[Tile]) -> Tensor:
        rows = block[0].images
        labels, t = y[rows], x[rows].detach().requires_grad_()
        only = _sum_of(ensemble, t, labels, explain, block[0].draws) if len(block) == 1 else None
        total = only if only is not None else mean_maps(ensemble, t, labels, explain, memory) * draws
        mean = (total.detach() / draws).requires_grad_()
        found = value(mean, rows)
        if not found.requires_grad:
            raise ValueError(
                "attack_explanation: the objective does not depend differentiably on the maps (it is constant or "
                "detached); return a function of them that has a derivative, such as overlap(20)."
            )
        (back,) = torch.autograd.grad(found.sum(), mean)
        pulled = torch.zeros_like(t)
        for tile in block:
            maps = only if only is not None else _sum_of(ensemble, t, labels, explain, tile.draws)
            pulled += torch.autograd.grad(maps, t, back / draws)[0]
        return pulled

    gradient = torch.empty_like(x)
    for block, pulled in Walk().blocks(_blocks(ensemble, x, memory), pulled_back):
        gradient[block[0].images] = pulled
    if not bool(torch.isfinite(gradient).all()):
        raise ValueError(
            "attack_explanation: the objective's gradient holds NaN or infinite values; use a rule with a "
            "stabiliser, or a smaller beta."
        )
    return gradient


def _sum_of(ensemble: Ensemble, t: Tensor, labels: Tensor, explain: Explain, draws: slice) -> Tensor:
    """Maps of some draws, summed `[b, *image]`, differentiable in `t`."""
    t = t if t.requires_grad else t.requires_grad_()
    with torch.enable_grad():
        maps = explain(ensemble[draws], t, labels)
    if not isinstance(maps, Tensor) or maps.ndim != t.ndim + 1 or maps.shape[1] != len(t):
        got = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"attack_explanation: explain must return maps [s, b, *image], got {got}.")
    if not maps.requires_grad:
        raise ValueError(
            "attack_explanation: the maps do not depend differentiably on the images; explain must keep the graph "
            "(create_graph=True for the methods of holdfast.explanations)."
        )
    return maps.sum(0)


def _blocks(ensemble: Ensemble, x: Tensor, memory: int) -> list[list[Tile]]:
    return list(tiles(SECOND_ORDER * ensemble.pair_bytes(x), len(ensemble), len(x), memory))
