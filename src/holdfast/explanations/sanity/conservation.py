"""Conservation: how much of the relevance that starts at the output arrives at each layer.

The sum of the relevance of a layer's outputs. In a plain chain of layers whose biases keep no share, every sum equals
the start up to the stabiliser; biases that absorb relevance lower or raise it on the way. Where branches run side by
side, as in a residual network, the layers of one branch hold only their part. Bach et al. 2015, PLoS ONE 10(7).
"""

from typing import Any

import torch
from torch import Tensor, nn

import holdfast.tiles as cut
from holdfast.ensemble import Ensemble
from holdfast.explanations.lrp import lrp
from holdfast.explanations.sanity.layers import learnable_layers
from holdfast.explanations.target import Target, settle
from holdfast.tiles import MEMORY


def conservation(
    ensemble: Ensemble | nn.Module, x: Tensor, target: Target = None, *, memory: int = MEMORY, **settings: Any
) -> dict[str, Tensor]:
    """Sum of the relevance at the output, at every layer with parameters that runs once, and at the images.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average.
        memory: budget in bytes, handed to `lrp`.
        **settings: further keyword arguments of `lrp`, such as `rule` and `start`.

    Returns:
        "output", name of each layer, "input" -> sum of relevance `[S, B]`, from the output to the images.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> network = nn.Sequential(nn.Linear(9, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
    >>> list(conservation(network, torch.rand(4, 9)))
    ['output', '2', '0', 'input']
    """
    ensemble, target = settle("conservation", ensemble, x, target, memory=memory)
    layers = [name for name, runs in reversed(learnable_layers(ensemble, x).items()) if runs == 1]
    names = ["", *(name for name in layers if name), "input"]  # to lrp the whole network's name is ""
    _, size = cut.tile_shape(len(ensemble) * ensemble.pair_bytes(x), 1, len(x))
    sums: dict[str, list[Tensor]] = {name: [] for name in names}
    for first in range(0, len(x), size):
        images = slice(first, first + size)
        maps = lrp(ensemble, x[images], target[images], layer=names, memory=memory, **settings)
        for name in names:
            sums[name].append(maps[name].flatten(2).sum(-1))
    return {name or "output": torch.cat(parts, 1) for name, parts in sums.items()}
