"""NoiseGrad: an ensemble made of a network by multiplying its parameters with noise.

    w_n = w * (1 + e_n),      e_n ~ N(0, spread^2),  n = 1 .. copies

Explained by any method and averaged over its draws, it is the control for whatever is said of a posterior: it averages
explanations, but no data went into its spread. Bykov, Hedstroem, Nakajima, Hoehne, "NoiseGrad", arXiv:2106.10185.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from holdfast.checks import check_range
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.explanations.smooth_grad import check_copies
from holdfast.explanations.target import as_ensemble


def noise_grad(ensemble: Ensemble | nn.Module, *, copies: int = 10, spread: float = 0.2, seed: int = 0) -> Ensemble:
    """Noisy copies of a network, or of every draw of an ensemble.

    All draws are multiplied with the same noise. Only parameters are: buffers, such as the running statistics of a
    batch norm, stay.

    Args:
        ensemble: an ensemble of S draws, or one network.
        copies: noisy copies of every draw.
        spread: standard deviation of the factors; the paper takes the largest that costs about 5 % of accuracy.
        seed: of the noise.

    Returns:
        an ensemble of `S * copies` draws: those of draw s are `[s * copies : (s + 1) * copies]`.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> noisy = noise_grad(nn.Linear(3, 2), copies=4)
    >>> len(noisy), noisy.logits(torch.rand(5, 3)).shape
    (4, torch.Size([4, 5, 2]))
    """
    ensemble = as_ensemble("noise_grad", ensemble)
    stacks: dict[str, list[Tensor]] = {k: [] for k in ensemble.weights}
    for noisy in noisy_copies("noise_grad", ensemble, copies, spread, seed):
        for name, weight in noisy.weights.items():
            stacks[name].append(weight)
    weights = {k: torch.stack(v, 1).flatten(0, 1) for k, v in stacks.items()}
    settings = {"copies": copies, "spread": spread, "seed": seed}
    return Ensemble(ensemble.network, weights, Diagnostics("noise_grad", settings))


def noisy_copies(call: str, ensemble: Ensemble, copies: int, spread: float, seed: int) -> Iterator[Ensemble]:
    """One noisy copy of all draws after the other."""
    check_copies(call, copies)
    check_range(call, "spread", spread, 0.0, 1e6)
    generator = torch.Generator().manual_seed(seed)
    parameters = {name for name, _ in ensemble.network.named_parameters()}

    def noisy(name: str, weight: Tensor) -> Tensor:
        if name not in parameters:
            return weight
        noise = torch.randn(weight.shape[1:], generator=generator, dtype=torch.float64)
        return weight * (1 + spread * noise).to(weight)

    for _ in range(copies):
        yield Ensemble(ensemble.network, {k: noisy(k, v) for k, v in ensemble.weights.items()})
