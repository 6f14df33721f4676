"""Class sensitivity: a map that is the same for another class does not say why it was this one.

The similarity of the map of a class to the map of another class, of the same network on the same image. Rules that
only follow positive weights come close to 1: Sixt, Granz, Landgraf, "When Explanations Lie", arXiv:1912.09818.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.target import Target, settle
from holdfast.tiles import MEMORY


def class_sensitivity(
    method: Callable[..., Tensor],
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    other: Target = None,
    *,
    similarity: Callable[[Tensor, Tensor], Tensor],
    memory: int = MEMORY,
    **settings: Any,
) -> Tensor:
    """Similarity of the maps of two classes.

    Args:
        method: an explanation method, such as `lrp`.
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average.
        other: the other class; None for the most probable one besides the target under the model average.
        similarity: (maps, maps) -> one number per draw and image, such as `holdfast.scores.spearman`.
        memory: budget in bytes, handed to the method.
        **settings: further keyword arguments of the method.

    Returns:
        similarity `[S, B]`.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> from holdfast.explanations.saliency import saliency
    >>> network, x = nn.Linear(9, 2), torch.rand(4, 9)
    >>> with torch.no_grad():
    ...     _ = network.weight[1].copy_(-network.weight[0])
    >>> class_sensitivity(saliency, network, x, similarity=lambda a, b: torch.cosine_similarity(a, b, -1)).round()
    tensor([[-1., -1., -1., -1.]])
    """
    call = "class_sensitivity"
    ensemble, target = settle(call, ensemble, x, target, memory=memory)
    if other is None:
        others = ensemble.log_predictive(x.detach(), memory=memory).scatter(-1, target[:, None], -torch.inf)
        other = others.argmax(-1)
    _, other = settle(call, ensemble, x, other, memory=memory)
    same = int((target == other).sum())
    if same:
        raise ValueError(f"{call}: other must differ from the target, but is the same class for {same} images.")
    explain = lambda classes: method(ensemble, x, classes, memory=memory, **settings)
    return similarity(explain(target), explain(other))
