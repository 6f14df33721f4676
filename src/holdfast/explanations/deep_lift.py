"""DeepLIFT with the rescale rule: differences from a baseline, handed back through the network.

    map_s(x) = (x - x') * m,      sum over pixels = F_s(x) - F_s(x')

`m` is the chain rule with every elementwise function `y = g(z)` given the slope `(y - y') / (z - z')` in place of its
derivative. Maximum pooling gives the difference of its outputs to the larger of the two winners, that at `x` or that
at `x'`. Shrikumar, Greenside, Kundaje, "Learning Important Features Through Propagating Activation Differences",
arXiv:1704.02685.

The network's own forward runs three times inside a function mode: at x', at x, and as the linear map of those slopes,
whose ordinary gradient `m` is. Nothing is hooked or replaced; functions used twice or without a module are seen, and
the maps can be differentiated.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.ensemble import Ensemble
from holdfast.explanations.integrated_gradients import Baseline, baseline_image
from holdfast.explanations.rescale import AtBaseline, AtImages, Slopes
from holdfast.explanations.target import Of, Target, check_of, explained, settle
from holdfast.progress import track
from holdfast.tiles import MEMORY, Tile, Walk, tiles

NODES = 64  # of the quadrature between the two outputs, for numbers that are not linear in the logits


def deep_lift(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    of: Of = "score",
    baseline: Baseline = 0.0,
    create_graph: bool = False,
    memory: int = MEMORY,
) -> Tensor:
    """DeepLIFT, rescale rule, of every draw.

    A margin is that to the strongest rival at `x`, at the baseline too. A number that is not linear in the logits (log
    probability, log predictive, a function) is handed back through its gradient averaged between the logits at the
    baseline and those at `x`, which is the rescale rule for a function of several inputs.

    Args:
        ensemble: an ensemble, or one network: linear functions, elementwise activations, pools, batch norm, sums, ...
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average.
        of: the number that is explained; see `holdfast.explanations.target`.
        baseline: what the images are compared with: a number, one image `[*image]`, or one for each `[B, *image]`.
        create_graph: make the maps differentiable in `x`, the baseline and the weights.
        memory: budget in bytes; the maps do not depend on it.

    Returns:
        maps `[S, B, *image]` in units of the explained number; `[1, B, *image]` for "log_predictive".

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.
        NotImplementedError: the network uses a function without a rescale rule, named in the message.

    >>> network, x = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(4, 3)
    >>> torch.allclose(deep_lift(network, x, 1).sum(-1), network(x)[:, 1] - network(0 * x)[:, 1], atol=1e-5)
    True
    """
    check_of("deep_lift", of)
    ensemble, target = settle("deep_lift", ensemble, x, target, memory=memory, differentiable=create_graph)
    start = baseline_image("deep_lift", baseline, x).expand_as(x)
    x, start = (x, start) if create_graph else (x.detach(), start.detach())
    average = of == "log_predictive"
    with torch.set_grad_enabled(create_graph):
        weight = _average_weights(ensemble, x, start, target, memory, create_graph) if average else None
        maps = x.new_zeros(1 if average else len(ensemble), *x.shape)
        cut = [t for block in tiles(4 * ensemble.pair_bytes(x), len(ensemble), len(x), memory) for t in block]

        def one(tile: Tile) -> Tensor:
            images = x[tile.images], start[tile.images]
            logits, at_start, linear, leaf = _passes(ensemble, *images, tile.draws, create_graph)
            if average:
                back = weight[tile.draws, tile.images]
            else:
                back = _output_weights(of, logits, at_start, target[tile.images], create_graph)
            (slope,) = torch.autograd.grad(linear, leaf, back, create_graph=create_graph)
            return (images[0] - images[1]) * slope

        for tile, found in Walk().tiles(track(cut, "deep_lift"), one):
            maps[slice(1) if average else tile.draws, tile.images] += found.sum(0, keepdim=True) if average else found
    return maps


def _passes(
    ensemble: Ensemble, x: Tensor, start: Tensor, draws: slice, create_graph: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits `[s, b, C]` at x and at the baseline, those of the linear map of slopes, and the leaf that feeds it."""

    def three(weights: dict[str, Tensor], leaf: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        run = lambda t: functional_call(ensemble.network, weights, (t,))
        notes, (at, base) = [], (x.clone(), start.clone())  # a network may begin with a function in place
        with torch.set_grad_enabled(create_graph):
            with AtBaseline(base, notes):
                at_start = run(base)
            with AtImages(at, notes):
                logits = run(at)
        moving = leaf.clone()
        with Slopes(moving, notes):
            return logits, at_start, run(moving)

    weights = {k: v[draws] for k, v in ensemble.weights.items()}
    with torch.enable_grad():
        leaf = x.detach().expand(draws.stop - draws.start, *x.shape).requires_grad_()
        if len(leaf) == 1:
            found = three({k: v[0] for k, v in weights.items()}, leaf[0])
            return *(t[None] for t in found), leaf
        return *torch.vmap(three)(weights, leaf), leaf


def _output_weights(of: Of, logits: Tensor, at_start: Tensor, target: Tensor, create_graph: bool) -> Tensor:
    """Weights of the logits `[s, b, C]` in the explained number."""
    value = lambda t: explained("deep_lift", of, t, target).sum()
    if of in ("score", "margin"):  # linear between the two: the gradient at x is the rule
        return torch.func.grad(value)(logits.detach())
    place, weight = np.polynomial.legendre.leggauss(NODES)
    total = torch.zeros_like(logits)
    for p, w in zip((place + 1) / 2, weight / 2, strict=True):
        at = at_start + p * (logits - at_start)
        with torch.enable_grad():
            at = at if at.requires_grad else at.requires_grad_()
            total = total + w * torch.autograd.grad(value(at), at, create_graph=create_graph)[0]
    return total


def _average_weights(
    ensemble: Ensemble, x: Tensor, start: Tensor, target: Tensor, memory: int, create_graph: bool
) -> Tensor:
    """Weights of all draws' logits `[S, B, C]` in the log predictive."""
    run = ensemble.call if create_graph else lambda t: ensemble.logits(t, memory=memory)
    return _output_weights("log_predictive", run(x), run(start), target, create_graph)
