"""Objectives: what an attack on predictions raises, as functions of all draws' logits.

Each takes logits `[S, b, C]` and labels `[b]` and returns one value per image `[b]`: high where the ensemble is wrong
about the label. A targeted attack lowers the same function at the target instead. `log p` below is the log predictive
of `holdfast.ensemble`, `z` are logits.

    cross_entropy      -log p_y
    margin             max_{c != y} log p_c - log p_y
    logit_margin       max_{c != y} z_c - z_y of the mean logits
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from holdfast.ensemble import log_predictive

ObjectiveFunction = Callable[[Tensor, Tensor], Tensor]  # (logits [S, b, C], labels [b]) -> [b]
FLOOR = -60.0  # log odds below which float32 cannot tell the cross-entropy from zero; see `cross_entropy`


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy `-log p_y` of the log predictive, with a gradient that saturation does not kill.

    With the log odds `o = log((1 - p_y) / p_y)`, taken in log space, the cross-entropy is `log(1 + exp(o))`. The usual
    route over `p_y` loses the gradient once `p_y` rounds to 1; this one keeps it while `exp(o)` is a number. Below
    `o = -60`, where the value is 1e-26 and its derivative would soon underflow, it goes on along its tangent: still
    rising in `o`, so steps that use only the gradient's direction are those of the exact cross-entropy.

    >>> z = torch.tensor([[[2000., 0.]]]).requires_grad_()
    >>> y = torch.tensor([0])
    >>> torch.autograd.grad(cross_entropy(z, y).sum(), z)[0].sign()
    tensor([[[-1.,  1.]]])
    >>> torch.autograd.grad(torch.nn.functional.cross_entropy(z[0], y), z)[0]
    tensor([[[0., 0.]]])
    """
    o = log_odds(log_predictive(logits), y)
    tangent = torch.tensor(FLOOR, dtype=o.dtype).exp().item() * (1 + o - FLOOR)
    return torch.where(o > FLOOR, -logsigmoid(-o), tangent)


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Margin `max_{c != y} log p_c - log p_y` of the log predictive: positive exactly where the decision is not `y`.

    For one network this is `max_{c != y} z_c - z_y`: linear in the logits, so no scale of the logits saturates it
    (the objective f_6 of Carlini and Wagner 2017, arXiv 1608.04644, turned around).

    >>> margin(torch.tensor([[[3., 1., 0.]]]), torch.tensor([0]))
    tensor([-2.])
    """
    return margin_of(log_predictive(logits), y)


def logit_margin(logits: Tensor, y: Tensor) -> Tensor:
    """Margin `max_{c != y} z_c - z_y` of the logits averaged over the draws: linear in every draw, at any scale."""
    return margin_of(logits.mean(0), y)


def margin_of(values: Tensor, y: Tensor) -> Tensor:
    """`max_{c != y} v_c - v_y` of values `[b, C]`."""
    return _others(values, y).amax(-1) - _own(values, y)


def log_odds(log_p: Tensor, y: Tensor) -> Tensor:
    """`log((1 - p_y) / p_y)` of log probabilities `[b, C]`."""
    return _others(log_p, y).logsumexp(-1) - _own(log_p, y)


OBJECTIVES: dict[str, ObjectiveFunction] = {f.__name__: f for f in (cross_entropy, margin, logit_margin)}


def objective_function(call: str, objective: str | ObjectiveFunction) -> ObjectiveFunction:
    """The objective of that name, or the callable itself."""
    if callable(objective):
        return objective
    if objective not in OBJECTIVES:
        raise ValueError(
            f"{call}: no objective named {objective!r}; choose one of {', '.join(OBJECTIVES)}, or pass a function "
            "(logits [S, b, C], labels [b]) -> values [b]."
        )
    return OBJECTIVES[objective]


def _own(values: Tensor, y: Tensor) -> Tensor:
    return values.gather(-1, y[:, None])[:, 0]


def _others(values: Tensor, y: Tensor) -> Tensor:
    return values.scatter(-1, y[:, None], -torch.inf)
