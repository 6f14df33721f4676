"""Noisy copies: the classifier smoothed by fixed Gaussian noise, as an ensemble of its own.

    F_s(x) = (1/n) sum_k f_s(x + e_k),      e_k ~ N(0, spread^2), the same for every image

The logits are averaged, so the gradient of F is SmoothGrad with this noise, and the normal of its decision boundary is
the difference of two such gradients. The noise is drawn once: the smoothed classifier is an ordinary function, whose
boundary can be searched. Wang, Fredrikson, Datta, arXiv:2103.11257, appendix B.5; after Cohen, Rosenfeld, Kolter,
"Certified adversarial robustness via randomized smoothing", arXiv:1902.02918, who count votes.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from holdfast.checks import check_count, check_range, check_seed
from holdfast.ensemble import Ensemble, skeleton


def noisy_copies(
    ensemble: Ensemble, shape: tuple[int, ...], *, spread: float, copies: int = 50, seed: int = 0
) -> Ensemble:
    """The ensemble whose logits are averaged over noisy copies of every image. One call costs `copies` calls.

    Args:
        ensemble: what to smooth; all draws see the same noise.
        shape: of one image.
        spread: standard deviation of the noise, in units of the pixels.
        copies: how many.
        seed: of the noise.

    >>> network = nn.Linear(3, 2)
    >>> smooth = noisy_copies(Ensemble.from_networks(network), (3,), spread=0.1)
    >>> x = torch.rand(4, 3)
    >>> bool((smooth.logits(x)[0] - network(x)).abs().max() < 0.1)
    True
    """
    check_range("noisy_copies", "spread", spread, 0, 1e6)
    check_count("noisy_copies", "copies", copies)
    check_seed("noisy_copies", seed)
    generator = torch.Generator().manual_seed(seed)
    noise = spread * torch.randn(copies, *shape, generator=generator, dtype=torch.float64)
    noise = noise.to(ensemble.device, ensemble.dtype)
    weights = {f"network.{name}": value for name, value in ensemble.weights.items()}
    weights["noise"] = noise.expand(len(ensemble), *noise.shape)
    return replace(ensemble, network=skeleton(NoisyCopies(ensemble.network, noise)), weights=weights, diagnostics=None)


class NoisyCopies(nn.Module):
    """See `noisy_copies`."""

    def __init__(self, network: nn.Module, noise: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("noise", noise)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, *image]` to averaged logits `[B, C]`."""
        noisy = (x + self.noise[:, None]).flatten(0, 1)
        return self.network(noisy).unflatten(0, (len(self.noise), len(x))).mean(0)
