"""Gradient x input: the first-order share of every pixel in the explained number.

    map_s(x) = x * d f_s,t / dx

On a ReLU network without biases the shares add up to the logit. Shrikumar, Greenside, Shcherbina, Kundaje, "Not Just a
Black Box", arXiv:1605.01713.
"""

from torch import Tensor, nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.gradients import weighted_gradients
from holdfast.explanations.target import Of, Target, settle
from holdfast.tiles import MEMORY


def gradient_times_input(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    of: Of = "score",
    create_graph: bool = False,
    memory: int = MEMORY,
) -> Tensor:
    """Gradient x input of every draw.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average.
        of: the number that is explained; see `holdfast.explanations.target`.
        create_graph: make the maps differentiable in `x` and in the weights, for attacks on them.
        memory: budget in bytes; the maps do not depend on it.

    Returns:
        maps `[S, B, *image]` in units of the explained number; `[1, B, *image]` for "log_predictive".

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> import torch
    >>> network, x = nn.Linear(3, 2, bias=False), torch.rand(4, 3)
    >>> torch.allclose(gradient_times_input(network, x, 1).sum(-1), network(x)[:, 1])
    True
    """
    call = "gradient_times_input"
    ensemble, target = settle(call, ensemble, x, target, memory=memory, differentiable=create_graph)
    point = lambda numbers: x[None]
    maps = weighted_gradients(call, ensemble, x, target, point, [1.0], of=of, create_graph=create_graph, memory=memory)
    return x * maps if create_graph else maps.mul_(x.detach())
