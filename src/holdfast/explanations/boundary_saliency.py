"""Boundary saliency map (BSM): the normal of the nearest decision boundary.

    map_s(x) = d (f_s,c - f_s,c') / dx  at x*      rival=True, the normal: f_c = f_c' is what the boundary is
    map_s(x) = d f_s,c / dx  at x*                 rival=False, as published

x* is the nearest boundary point, c the decision at x, c' the class across. Wang, Fredrikson, Datta, "Robust models are
more interpretable because attributions look normal", arXiv:2103.11257, definition 5. For several draws the boundary is
that of the Bayesian model average, and every draw has its own map there.
"""

from torch import Tensor, nn

from holdfast.attacks import Boundary
from holdfast.ensemble import Ensemble
from holdfast.explanations.boundary_points import explain_side, settle_boundary
from holdfast.explanations.saliency import saliency
from holdfast.explanations.target import Of, Target
from holdfast.tiles import MEMORY


def boundary_saliency(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    boundary: Boundary | None = None,
    of: Of = "score",
    rival: bool = True,
    memory: int = MEMORY,
) -> Tensor:
    """Boundary saliency map of every draw.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the decision. Images decided otherwise have no such map.
        boundary: what `nearest_boundary` returned for these images; None searches with its defaults.
        of: the number that is explained; see `holdfast.explanations.target`.
        rival: explain the lead over the class across the boundary.
        memory: budget in bytes; the maps do not depend on it.

    Returns:
        maps `[S, B, *image]`, in units of the explained number per unit of `x`; NaN for images without boundary point;
        `[1, B, *image]` for "log_predictive".

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> import torch
    >>> network = nn.Linear(3, 2)
    >>> network.bias.data.zero_()
    tensor([0., 0.])
    >>> network.weight.data = torch.tensor([[1., 0., 0.], [0., 1., 0.]])
    >>> boundary_saliency(network, torch.tensor([[.9, .5, .1]]))
    tensor([[[ 1., -1.,  0.]]])
    """
    call = "boundary_saliency"
    ensemble, boundary, explained = settle_boundary(call, ensemble, x, target, boundary, memory)
    explain = lambda classes: saliency(ensemble, boundary.points, classes, of=of, memory=memory)
    return explain_side(explain, boundary, explained, rival)
