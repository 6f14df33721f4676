"""Boundary DeepLIFT: DeepLIFT with the nearest point of another decision as the baseline.

    map_s(x) = (x - x*) * m,      sum over pixels = f_s,c(x) - f_s,c(x*)

x* is the nearest boundary point, c the decision at x, `m` the slopes of `deep_lift`. From the released code of Wang,
Fredrikson, Datta, arXiv:2103.11257.
"""

from torch import Tensor, nn

from holdfast.attacks import Boundary
from holdfast.ensemble import Ensemble
from holdfast.explanations.boundary_points import explain_side, settle_boundary
from holdfast.explanations.deep_lift import deep_lift
from holdfast.explanations.target import Of, Target
from holdfast.tiles import MEMORY


def boundary_deep_lift(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    boundary: Boundary | None = None,
    of: Of = "score",
    rival: bool = False,
    memory: int = MEMORY,
) -> Tensor:
    """DeepLIFT, rescale rule, of every draw, from the boundary point.

    Args:
        ensemble: an ensemble, or one network, of functions that `deep_lift` knows.
        x, target, boundary, of, rival, memory: as for `boundary_saliency`, save that the lead over the class across is
            explained only where `rival` asks for it.

    Returns:
        maps `[S, B, *image]` in units of the explained number; NaN for images without boundary point;
        `[1, B, *image]` for "log_predictive".

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.
        NotImplementedError: the network uses a function without a rescale rule, named in the message.

    >>> import torch
    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> boundary_deep_lift(network, torch.tensor([[.9, .5]])).round(decimals=3)
    tensor([[[0.2000, 0.0000]]])
    """
    call = "boundary_deep_lift"
    ensemble, boundary, explained = settle_boundary(call, ensemble, x, target, boundary, memory)
    given = dict(baseline=boundary.points, of=of, memory=memory)
    explain = lambda classes: deep_lift(ensemble, x.detach(), classes, **given)
    return explain_side(explain, boundary, explained, rival)
