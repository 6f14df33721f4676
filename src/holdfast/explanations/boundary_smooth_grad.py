"""Boundary SmoothGrad (BSG): the normal of the nearest decision boundary of the smoothed classifier.

    map_s(x) = (1/n) sum_k  d (f_s,c - f_s,c') / dx (x* + e_k),      e_k ~ N(0, spread^2), the same for every image

x* is the nearest boundary point of the classifier whose logits are averaged over the same noise (`noisy_copies`); c its
decision at x, c' that across. `rival=False` leaves out c', as published. Wang, Fredrikson, Datta, arXiv:2103.11257,
appendix B.5; their theorem 1 says that SmoothGrad comes close to it as the noise grows.
"""

from torch import Tensor, nn

from holdfast.attacks import Boundary, noisy_copies
from holdfast.ensemble import Ensemble
from holdfast.explanations.boundary_points import explain_side, settle_boundary
from holdfast.explanations.saliency import saliency
from holdfast.explanations.target import Of, Target, as_ensemble
from holdfast.tiles import MEMORY


def boundary_smooth_grad(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    boundary: Boundary | None = None,
    of: Of = "score",
    rival: bool = True,
    copies: int = 50,
    spread: float = 0.15,
    seed: int = 0,
    memory: int = MEMORY,
) -> Tensor:
    """Boundary SmoothGrad of every draw. A search takes `copies` times as long as that of one network.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the decision of the smoothed classifier.
        boundary: what `nearest_boundary` returned for these images and `noisy_copies` of the ensemble; None searches.
        of: the number that is explained, made of the averaged logits; see `holdfast.explanations.target`.
        rival: explain the lead over the class across the boundary.
        copies: noisy copies of every image.
        spread: standard deviation of the noise in units of `x`.
        seed: of the noise.
        memory: budget in bytes; the maps do not depend on it.

    Returns:
        maps `[S, B, *image]`, in units of the explained number per unit of `x`; NaN for images without boundary point.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> import torch
    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> boundary_smooth_grad(network, torch.tensor([[.9, .5]]), copies=4).round(decimals=3)
    tensor([[[ 1., -1.]]])
    """
    call = "boundary_smooth_grad"
    given = dict(spread=spread, copies=copies, seed=seed)
    smooth = noisy_copies(as_ensemble(call, ensemble), tuple(x.shape[1:]), **given)
    smooth, boundary, explained = settle_boundary(call, smooth, x, target, boundary, memory)
    explain = lambda classes: saliency(smooth, boundary.points, classes, of=of, memory=memory)
    return explain_side(explain, boundary, explained, rival)
