"""SmoothGrad: the saliency map averaged over noisy copies of the image.

    map_s(x) = (1/n) sum_k  d F_s / dx (x + e_k),      e_k ~ N(0, spread^2)

Smilkov, Thorat, Kim, Viegas, Wattenberg, "SmoothGrad: removing noise by adding noise", arXiv:1706.03825.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from holdfast.checks import check_range
from holdfast.ensemble import Ensemble
from holdfast.explanations.gradients import weighted_gradients
from holdfast.explanations.target import Of, Target, settle
from holdfast.tiles import MEMORY


def smooth_grad(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    of: Of = "score",
    copies: int = 25,
    spread: float = 0.15,
    seed: int = 0,
    create_graph: bool = False,
    memory: int = MEMORY,
) -> Tensor:
    """SmoothGrad of every draw. All draws see the same noise, so that their maps differ by their weights alone.

    Args:
        ensemble: an ensemble, or one network.
        x: images `[B, *image]`.
        target: class `[B]`, one class for all, or None for the class of the Bayesian model average at `x` itself.
        of: the number that is explained; see `holdfast.explanations.target`.
        copies: noisy copies of every image.
        spread: standard deviation of the noise in units of `x`; the paper takes 10 to 20 % of the pixels' range.
        seed: of the noise.
        create_graph: make the maps differentiable in `x` and in the weights, for attacks on them.
        memory: budget in bytes; the maps do not depend on it.

    Returns:
        maps `[S, B, *image]`, in units of the explained number per unit of `x`; `[1, B, *image]` for "log_predictive".

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> network, x = nn.Linear(3, 2), torch.rand(4, 3)
    >>> torch.allclose(smooth_grad(network, x, 1)[0, 0], network.weight[1])
    True
    """
    ensemble, target = settle("smooth_grad", ensemble, x, target, memory=memory, differentiable=create_graph)
    check_copies("smooth_grad", copies)
    check_range("smooth_grad", "spread", spread, 0.0, 1e6)
    noise = _noise(x, spread, seed)
    points = lambda numbers: torch.stack([x + next(noise) for _ in numbers])
    weights = [1 / copies] * copies
    return weighted_gradients(
        "smooth_grad", ensemble, x, target, points, weights, of=of, create_graph=create_graph, memory=memory
    )


def check_copies(call: str, copies: int) -> None:
    """`copies` must be a positive integer."""
    if isinstance(copies, bool) or not isinstance(copies, int) or copies < 1:
        raise ValueError(f"{call}: copies must be an integer of at least 1, got {copies!r}.")


def _noise(x: Tensor, spread: float, seed: int) -> Iterator[Tensor]:
    """The noise of one copy of the whole batch after the other, the same in every precision and however it is cut."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield spread * torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
