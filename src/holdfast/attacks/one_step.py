"""One step: the point of the budget where the linearised objective is largest.

    x' = argmax { <g, x' - x> : x' in the ball around x and in the pixel range },   g = gradient of the objective at x

For linf this is the fast gradient sign method, `x + e sign(g)` clipped to the pixel range (Goodfellow, Shlens, Szegedy
2015, arXiv 1412.6572). For l2, pixels that meet the range leave their share of the radius to the others. On a linear
model the step is the exact optimum in every norm.
"""

from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.objectives import ObjectiveFunction, name_of
from holdfast.attacks.search import Search
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY


def fgsm(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    objective: str | ObjectiveFunction = "margin",
    targeted: bool = False,
    memory: int = MEMORY,
) -> Attacked:
    """Attack with one step of the whole radius along the gradient of the objective.

    Args:
        ensemble: what to attack; one image is made against all its draws together.
        x: images `[B, *image]` within the budget's pixel range.
        y: labels `[B]` to move away from; with `targeted`, the classes to reach.
        budget: norm, one radius or several, and pixel range.
        objective: a name of `holdfast.attacks.objectives`, or a function (logits `[S, b, C]`, labels `[b]`) -> `[b]`.
        targeted: lower the objective at `y` instead of raising it.
        memory: budget in bytes for the work of one moment.

    Returns:
        The image after the step, per input and radius.

    >>> import torch
    >>> network = torch.nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> x, y = torch.tensor([[.6, .5]]), torch.tensor([0])
    >>> result = fgsm(Ensemble.from_networks(network), x, y, budget=Budget("linf", .1))
    >>> result.images
    tensor([[[0.5000, 0.6000]]])
    >>> result.success
    tensor([[True]])
    """
    search = Search("fgsm", ensemble, x, y, budget=budget, objective=objective, targeted=targeted, memory=memory)
    _, gradient = search.gradient(search.x, search.rows)
    search.forget()
    search.judge(budget.linear_optimum(search.x, gradient, search.radius), search.rows)
    return search.finish("fgsm", {"objective": name_of(search.objective)})
