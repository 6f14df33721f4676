"""Saliency map: the gradient of the explained number in the pixels.

    map_s(x) = d f_s,t / dx

Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", arXiv:1312.6034 (who show its absolute value).
"""

from torch import Tensor, nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.gradients import weighted_gradients
from holdfast.explanations.target import Of, Target, settle
from holdfast.tiles import MEMORY


def saliency(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    of: Of = "score",
    absolute: bool = False,
    create_graph: bool = False,
    memory: int = MEMORY,
) -> Tensor:
    """Saliency map of every draw.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average.
        of: the number that is explained: "score" (a logit), "margin", "log_probability", "log_predictive" or a
            function of (logits, target); see `holdfast.explanations.target`.
        absolute: return `|map|`.
        create_graph: make the maps differentiable in `x` and in the weights, for attacks on them.
        memory: budget in bytes; the maps do not depend on it.

    Returns:
        maps `[S, B, *image]`, in units of the explained number per unit of `x`; `[1, B, *image]` for "log_predictive",
        which explains the average itself.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> import torch
    >>> network = nn.Linear(3, 2)
    >>> torch.equal(saliency(network, torch.rand(4, 3), 1)[0, 0], network.weight[1])
    True
    """
    ensemble, target = settle("saliency", ensemble, x, target, memory=memory, differentiable=create_graph)
    maps = weighted_gradients(
        "saliency", ensemble, x, target, lambda numbers: x[None], [1.0], of=of, create_graph=create_graph, memory=memory
    )
    return maps.abs() if absolute else maps
