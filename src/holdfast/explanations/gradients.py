"""Input gradients of every draw of an ensemble: what saliency, integrated gradients and SmoothGrad are made of.

Each of those methods is a weighted sum of input gradients of one explained number `F_s` (see `target.py`) at a few
points made of every image:

    map_s(x) = sum_k w_k  dF_s / dx (point_k(x))

Points are folded into the batch and the work is cut into tiles (see `holdfast.tiles`); noise is drawn for the whole
batch by whoever makes the points. So the same bytes come out under every memory budget of at least one tile.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from holdfast.ensemble import Ensemble
from holdfast.explanations.target import Of, check_of, explained
from holdfast.progress import track
from holdfast.tiles import Tile, Walk, tile_shape, tiles

Points = Callable[[range], Tensor]  # numbers of some points -> those points of all images, [k, B, *image]


def weighted_gradients(
    call: str,
    ensemble: Ensemble,
    x: Tensor,
    target: Tensor,
    points: Points,
    weights: Sequence[float],
    *,
    of: Of,
    create_graph: bool,
    memory: int,
) -> Tensor:
    """Sum the explained number's input gradients over weighted points of every image.

    Args:
        call: the name of the method, for messages and progress.
        ensemble, target: what `settle` returned.
        x: images `[B, *image]`.
        points: range of numbers -> points `[k, B, *image]`; every number is asked for once, in rising order.
        weights: one weight per point.
        of: what is explained.
        create_graph: make maps that autograd can differentiate; the whole graph is then kept.
        memory: budget in bytes for the graphs that are alive at once.

    Returns:
        maps `[S, B, *image]`, or `[1, B, *image]` for `of="log_predictive"`.
    """
    check_of(call, of)
    average = of == "log_predictive"
    draws = 1 if average else len(ensemble)
    pair = ensemble.pair_bytes(x)
    _, images = tile_shape(pair, 1, len(x), memory)
    folded, _ = tile_shape(pair, len(weights), images, memory)
    cut = [tile for block in tiles(pair * folded, draws, len(x), memory) for tile in block]

    def pieces() -> Iterator[tuple[Tensor, Tensor, Tile]]:
        for first in range(0, len(weights), folded):
            numbers = range(first, min(first + folded, len(weights)))
            at = points(numbers)
            at = at if create_graph else at.detach()
            weight = at.new_tensor([weights[k] for k in numbers])
            yield from ((at, weight, tile) for tile in cut)

    gradient = _average_gradient if average else _gradient_per_draw

    def weighted(at: Tensor, weight: Tensor, tile: Tile) -> Tensor:
        labels = target[tile.images].repeat(len(at))
        found = gradient(call, ensemble, at.flatten(0, 1), labels, tile.draws, of, create_graph, memory)
        return torch.einsum("k,sk...->s...", weight, found.unflatten(1, at.shape[:2]))

    maps, walk = x.new_zeros(draws, *x.shape), Walk()
    with torch.enable_grad() if create_graph else torch.no_grad():
        for at, weight, whole in track(pieces(), call, len(cut) * -(-len(weights) // folded)):
            work = lambda tile, at=at, weight=weight: weighted(at[:, tile.images], weight, tile)
            for tile, found in walk.tiles([whole], work):
                maps[tile.draws, tile.images] += found
    return maps


def call_each(ensemble: Ensemble, own: Tensor, draws: slice) -> Tensor:
    """Run every draw on images of its own: `[s, b, *image]` to logits `[s, b, C]`."""
    weights = {k: v[draws] for k, v in ensemble.weights.items()}
    own = own.clone()  # a network may begin with a function in place
    if len(own) == 1:
        return functional_call(ensemble.network, {k: v[0] for k, v in weights.items()}, (own[0],))[None]
    return torch.vmap(lambda w, t: functional_call(ensemble.network, w, (t,)))(weights, own)


def _gradient_per_draw(
    call: str, ensemble: Ensemble, at: Tensor, target: Tensor, draws: slice, of: Of, create_graph: bool, memory: int
) -> Tensor:
    """Gradients `[s, b, *image]`: every draw gets a view of the images of its own to be differentiated in."""
    with torch.enable_grad():
        own = at[None].expand(draws.stop - draws.start, *at.shape)
        own = own if own.requires_grad else own.requires_grad_()
        values = explained(call, of, call_each(ensemble, own, draws), target)
        return torch.autograd.grad(values.sum(), own, create_graph=create_graph)[0]


def _average_gradient(
    call: str, ensemble: Ensemble, at: Tensor, target: Tensor, draws: slice, of: Of, create_graph: bool, memory: int
) -> Tensor:
    """Gradient `[1, b, *image]` of the Bayesian model average."""
    objective = lambda logits, images: explained(call, of, logits, target[images])[0]
    if not create_graph:
        return ensemble.value_and_gradient(at, objective, memory=memory)[1][None]
    at = at if at.requires_grad else at.requires_grad_()
    return torch.autograd.grad(objective(ensemble.call(at), slice(None)).sum(), at, create_graph=True)[0][None]
