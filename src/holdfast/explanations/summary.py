"""Summary: what a posterior says of an explanation, without holding the maps of all draws for all images.

    mean        (1/S) sum_s R_s
    deviation   sqrt( sum_s (R_s - mean)^2 / (S - 1) )
    quantiles   of R_1 .. R_S at every pixel, interpolated linearly between order statistics
    top_share   share of the draws that rank the pixel among the largest |R_s|

The quantiles of a Bayesian explanation are from Bykov, Hoehne, Creosteanu, Mueller, Klauschen, Nakajima, Kloft,
"Explaining Bayesian Neural Networks", arXiv:2108.10346: a low one shows what all draws agree on, a high one what any of
them saw.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

import holdfast.tiles as cut
from holdfast.checks import check_range
from holdfast.ensemble import Ensemble
from holdfast.explanations.relevance.reductions import Mean, Quantiles, Reduction, TopCounts, Variance
from holdfast.explanations.target import Target, settle
from holdfast.progress import track
from holdfast.tiles import MEMORY


@dataclass(frozen=True, eq=False)
class Summary:
    """Maps reduced over draws.

    Attributes:
        mean, deviation: `[B, *image]`; the deviation of a single draw is zero.
        quantiles: `[Q, B, *image]`, one map for each of `levels`.
        top_share: `[B, *image]` in 0..1, where a share of top pixels was asked for.
    """

    mean: Tensor
    deviation: Tensor
    quantiles: Tensor
    top_share: Tensor | None = None


def summarise(
    method: Callable[..., Tensor],
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    top: float | None = None,
    memory: int = MEMORY,
    **settings: Any,
) -> Summary:
    """Mean, spread and quantiles over the draws of any explanation method's maps.

    The images are explained block by block, so that no more than the maps of one block are held. The blocks depend on
    the work alone, not on `memory`. A method with a `seed` draws its noise for all images together: they are one block.

    Args:
        method: a function of this room, such as `lrp` or `saliency`.
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average.
        quantiles: levels in 0..1; may be empty.
        top: percent of the pixels of a map that count as its top, in (0, 100]; None to leave `top_share` out.
        memory: budget in bytes, handed to the method.
        **settings: further keyword arguments of the method.

    Returns:
        the summary; its maps have the shape of the images (or of the layer that is explained).

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> from holdfast.explanations.saliency import saliency
    >>> ensemble = Ensemble.from_networks([nn.Linear(4, 3) for _ in range(5)])
    >>> summary = summarise(saliency, ensemble, torch.rand(2, 4), of="margin")
    >>> summary.mean.shape, summary.quantiles.shape
    (torch.Size([2, 4]), torch.Size([3, 2, 4]))
    """
    for level in quantiles:
        check_range("summarise", "every quantile", level, 0.0, 1.0)
    if top is not None:
        check_range("summarise", "top", top, 0.0, 100.0, open_low=True)
    ensemble, target = settle("summarise", ensemble, x, target, memory=memory)
    size = _images_at_once(method, ensemble, x, memory)
    parts = []
    for first in track(range(0, len(x), size), "summarise"):
        images = slice(first, first + size)
        maps = method(ensemble, x[images], target[images], memory=memory, **settings)
        if not isinstance(maps, Tensor):
            raise TypeError("summarise: the method must return one tensor of maps; ask for one layer at a time.")
        parts.append(reduce_draws(maps, quantiles, top))
    joined = {f.name: _join([getattr(p, f.name) for p in parts], f.name) for f in fields(Summary)}
    return Summary(**joined)


def reduce_draws(maps: Tensor, quantiles: Sequence[float] = (0.05, 0.5, 0.95), top: float | None = None) -> Summary:
    """The summary of maps `[S, B, *image]` that are at hand.

    >>> reduce_draws(torch.tensor([[[0.0, 3.0]], [[2.0, -3.0]]]), [0.25], top=50).quantiles
    tensor([[[ 0.5000, -1.5000]]])
    """
    shape = maps.shape[1:]

    def kept(reduction: Reduction) -> Tensor:
        stream = reduction.stream(len(maps))
        stream.add(maps.flatten(2))
        return stream.result().view(-1, *shape)

    levels = kept(Quantiles(tuple(quantiles))) if len(quantiles) else maps.new_empty(0, *shape)
    share = None if top is None else kept(TopCounts(top))[0].to(maps.dtype) / len(maps)
    return Summary(kept(Mean())[0], kept(Variance())[0].sqrt(), levels, share)


def _images_at_once(method: Callable[..., Tensor], ensemble: Ensemble, x: Tensor, memory: int) -> int:
    """How many: those whose maps under all draws fill about one tile."""
    plain = method.func if isinstance(method, functools.partial) else method
    one = len(ensemble) * x[0].numel() * x.element_size()
    if "seed" in inspect.signature(plain).parameters:
        if one * len(x) > memory:
            raise ValueError(
                f"summarise: a method with noise needs the maps of all images at once, {one * len(x):,} bytes, beyond "
                f"memory={memory:,}; hand over fewer images at a time or raise memory."
            )
        return len(x)
    return cut.tile_shape(one, 1, len(x))[1]


def _join(parts: list[Tensor | None], name: str) -> Tensor | None:
    return None if parts[0] is None else torch.cat(parts, 1 if name == "quantiles" else 0)
