"""Parameter randomisation: a map that stays the same when the weights become noise does not explain the network.

Layer by layer from the output on, the parameters are drawn anew, and the new maps are compared with the first ones:
all layers down to this one ("cascading"), or this one alone ("independent"). Adebayo, Gilmer, Muelly, Goodfellow,
Hardt, Kim, "Sanity Checks for Saliency Maps", arXiv:1810.03292.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.sanity.layers import learnable_layers
from holdfast.explanations.target import Target, settle
from holdfast.progress import track
from holdfast.tiles import MEMORY

Order = Literal["cascading", "independent"]


def parameter_randomisation(
    method: Callable[..., Tensor],
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    similarity: Callable[[Tensor, Tensor], Tensor],
    order: Order = "cascading",
    seed: int = 0,
    memory: int = MEMORY,
    **settings: Any,
) -> dict[str, Tensor]:
    """Similarity of the maps of a network to those of its half-randomised selves.

    Every parameter tensor of a layer is replaced by normal noise of its own mean and spread, anew for every draw;
    a tensor whose entries are all equal stays. Buffers stay.

    Args:
        method: an explanation method, such as `lrp`.
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average before anything is
            randomised.
        similarity: (maps, maps) -> one number per draw and image, such as `holdfast.scores.spearman`.
        order: "cascading" or "independent".
        seed: of the noise.
        memory: budget in bytes, handed to the method.
        **settings: further keyword arguments of the method.

    Returns:
        name of a layer -> similarity `[S, B]`, from the output to the images. A sound method falls quickly.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> from holdfast.explanations.saliency import saliency
    >>> network = nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> cosine = lambda a, b: torch.cosine_similarity(a, b, -1)
    >>> list(parameter_randomisation(saliency, network, torch.rand(4, 9), similarity=cosine))
    ['2', '0']
    """
    call = "parameter_randomisation"
    if order not in get_args(Order):
        raise ValueError(f"{call}: order must be 'cascading' or 'independent', got {order!r}.")
    ensemble, target = settle(call, ensemble, x, target, memory=memory)
    explain = lambda weights: method(Ensemble(ensemble.network, weights), x, target, memory=memory, **settings)
    first = explain(ensemble.weights)
    generator = torch.Generator().manual_seed(seed)
    weights, found = dict(ensemble.weights), {}
    for name in track(list(reversed(learnable_layers(ensemble, x))), call):
        fresh = _randomised(ensemble, name, generator)
        weights = {**(weights if order == "cascading" else ensemble.weights), **fresh}
        found[name] = similarity(first, explain(weights))
    return found


def _randomised(ensemble: Ensemble, layer: str, generator: torch.Generator) -> dict[str, Tensor]:
    """The layer's parameters, drawn anew for every draw."""
    fresh = {}
    for name, _ in ensemble.network.get_submodule(layer).named_parameters(layer, recurse=False):
        if name not in ensemble.weights:  # tied to a parameter of another layer, and drawn with that one
            continue
        old = ensemble.weights[name].detach()
        entries = old.flatten(1)
        shape = (len(old), *[1] * (old.ndim - 1))
        noise = torch.randn(old.shape, generator=generator, dtype=torch.float64).to(old)
        fresh[name] = entries.mean(1).view(shape) + entries.std(1, correction=0).view(shape) * noise
    return fresh
