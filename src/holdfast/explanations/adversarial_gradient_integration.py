"""Adversarial gradient integration (AGI): gradients summed along walks to other classes.

    map_s(x) = sum_t sum_j  (z_t,j - z_t,j+1) * d f_s,c / dx ((z_t,j + z_t,j+1) / 2),      z_t,0 = x

Each walk takes steps of fixed size along the steepest direction towards a class t and ends where t is decided for:

    z_t,j+1 = clip(z_t,j + step sign(d log p_t / dx (z_t,j)))

`p` is the Bayesian model average. The sum over the pixels is that of `f_s,c(x) - f_s,c(end of the walk)` over the
classes t, up to the quadrature. Pan, Li, Zhu, "Explaining deep neural network models with adversarial gradient
integration" (IJCAI 2021). Their released code begins every step at x again, which is no walk; here the steps follow
each other. A walk is not straight, so AGI is not symmetric in pixels that the network treats alike.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from holdfast.budget import Budget
from holdfast.checks import check_count, check_range
from holdfast.ensemble import Ensemble, log_predictive
from holdfast.explanations.saliency import saliency
from holdfast.explanations.target import Of, Target, settle
from holdfast.progress import track
from holdfast.tiles import MEMORY


def adversarial_gradient_integration(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    of: Of = "score",
    n_target_classes: int = 15,
    steps: int = 15,
    step_size: float = 0.05,
    lower: float = 0.0,
    upper: float = 1.0,
    memory: int = MEMORY,
) -> Tensor:
    """Adversarial gradient integration of every draw; all draws share the walks.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]` in the pixel range.
        target: class `[B]` that is explained, one class for all, or None for the decision.
        of: the number that is explained; see `holdfast.explanations.target`. The authors take the probability.
        n_target_classes: how many other classes are walked to, the most likely first; at most all.
        steps: most steps of one walk.
        step_size: of every pixel in each step.
        lower, upper: valid pixel values.
        memory: budget in bytes; the maps do not depend on it.

    Returns:
        maps `[S, B, *image]` in units of the explained number; `[1, B, *image]` for "log_predictive".

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> network, x = nn.Linear(3, 2, bias=False), torch.tensor([[.5, .5, .5]])
    >>> maps = adversarial_gradient_integration(network, x, 1)
    >>> maps.shape
    torch.Size([1, 1, 3])
    """
    call = "adversarial_gradient_integration"
    ensemble, own = settle(call, ensemble, x, target, memory=memory)
    check_count(call, "n_target_classes", n_target_classes)
    x = x.detach()
    order = ensemble.log_predictive(x, memory=memory).argsort(-1, descending=True)
    others = order[order != own[:, None]].view(len(x), -1)
    maps = x.new_zeros(1 if of == "log_predictive" else len(ensemble), *x.shape)
    for other in track(others.T[:n_target_classes], "adversarial gradient integration"):
        given = dict(steps=steps, step_size=step_size, lower=lower, upper=upper, memory=memory)
        path = adversarial_walk(ensemble, x, other, **given)
        for here, there in pairwise(path):
            rows = (here != there).flatten(1).any(1).nonzero()[:, 0]
            if len(rows):
                middle = (here[rows] + there[rows]) / 2
                maps[:, rows] += (here - there)[rows] * saliency(ensemble, middle, own[rows], of=of, memory=memory)
    return maps


def adversarial_walk(
    ensemble: Ensemble,
    x: Tensor,
    other: Tensor,
    *,
    steps: int = 15,
    step_size: float = 0.05,
    lower: float = 0.0,
    upper: float = 1.0,
    memory: int = MEMORY,
) -> list[Tensor]:
    """The points `[B, *image]` of a walk to the classes `other` `[B]`, the images first; images that arrive stay.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> path = adversarial_walk(Ensemble.from_networks(network), torch.tensor([[.6, .5]]), torch.tensor([1]))
    >>> len(path), path[-1].round(decimals=2)
    (3, tensor([[0.5000, 0.6000]]))
    """
    call = "adversarial_walk"
    check_count(call, "steps", steps)
    check_range(call, "step_size", step_size, 0, 1e6, open_low=True)
    budget = Budget("linf", step_size, lower, upper)
    path, rows = [x], torch.arange(len(x), device=x.device)
    for _ in range(steps):
        goal = other[rows]
        objective = lambda logits, images, goal=goal: log_predictive(logits).gather(1, goal[images, None])[:, 0]
        _, gradient = ensemble.value_and_gradient(path[-1][rows], objective, memory=memory)
        moved = path[-1].clone()
        radius = torch.full_like(rows, step_size, dtype=x.dtype)
        moved[rows] = budget.project(moved[rows] + step_size * gradient.sign(), moved[rows], radius)
        path.append(moved)
        rows = rows[ensemble.predict(moved[rows], memory=memory) != other[rows]]
        if not len(rows):
            break
    return path
