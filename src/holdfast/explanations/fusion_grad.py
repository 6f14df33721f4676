"""FusionGrad: saliency maps averaged over noisy weights and noisy images, NoiseGrad and SmoothGrad in one.

    map(x) = (1 / N M) sum_n sum_m  d F_{w * (1 + e_n)} / dx (x + d_nm)

Bykov, Hedstroem, Nakajima, Hoehne, "NoiseGrad", arXiv:2106.10185.
"""

import torch
from torch import Tensor, nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.noise_grad import noisy_copies
from holdfast.explanations.smooth_grad import smooth_grad
from holdfast.explanations.target import Of, Target, settle
from holdfast.progress import track
from holdfast.tiles import MEMORY


def fusion_grad(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    of: Of = "score",
    weight_copies: int = 10,
    weight_spread: float = 0.2,
    copies: int = 10,
    spread: float = 0.15,
    seed: int = 0,
    create_graph: bool = False,
    memory: int = MEMORY,
) -> Tensor:
    """FusionGrad of every draw: the mean over noisy copies of its weights, each shown noisy images of its own.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the model average without noise.
        of: the number that is explained; see `holdfast.explanations.target`.
        weight_copies, weight_spread: `copies` and `spread` of `noise_grad`.
        copies, spread: of `smooth_grad`, for every noisy copy of the weights.
        seed: of both noises.
        create_graph: make the maps differentiable in `x` and in the weights, for attacks on them.
        memory: budget in bytes; the maps do not depend on it. One noisy copy of the weights is held at a time.

    Returns:
        maps `[S, B, *image]`, in units of the explained number per unit of `x`; `[1, B, *image]` for "log_predictive".

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> fusion_grad(nn.Linear(3, 2), torch.rand(4, 3), weight_copies=2, copies=3).shape
    torch.Size([1, 4, 3])
    """
    ensemble, target = settle("fusion_grad", ensemble, x, target, memory=memory, differentiable=create_graph)
    settings = dict(of=of, copies=copies, spread=spread, create_graph=create_graph, memory=memory)
    noisy = noisy_copies("fusion_grad", ensemble, weight_copies, weight_spread, seed)
    seeds = torch.Generator().manual_seed(seed)
    total = 0
    for member in track(noisy, "fusion_grad", weight_copies):
        own = int(torch.randint(1 << 62, (), generator=seeds))
        total = total + smooth_grad(member, x, target, seed=own, **settings)
    return total / weight_copies
