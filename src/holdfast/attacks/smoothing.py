"""Smoothing: the same ensemble with softplus in the place of ReLU, so that explanations have a useful derivative.

    relu(z) -> softplus_b(z) = log(1 + exp(b z)) / b

A network of ReLUs is piecewise linear: its gradients do not change within a piece, and an attack that follows the
derivative of a gradient map sees nothing. Dombrowski et al. 2019 (arXiv 1906.07983) attack the smoothed network, whose
`b` may grow on the way, and show the image to the original one. A LeakyReLU of slope s becomes `s z + (1 - s)
softplus_b(z)`.
"""

import copy
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.functional import softplus

from holdfast.checks import check_range
from holdfast.ensemble import Ensemble


def smoothed(ensemble: Ensemble, beta: float) -> Ensemble:
    """The ensemble with every ReLU and LeakyReLU module smoothed; larger `beta` is closer to the original.

    Raises:
        ValueError: the network has no such module (activations written as functions cannot be exchanged from outside).

    >>> ensemble = Ensemble.from_networks(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    >>> smoothed(ensemble, 10).network
    Sequential(
      (0): Linear(in_features=2, out_features=2, bias=True)
      (1): Smooth(slope=0, beta=10)
    )
    """
    check_range("smoothed", "beta", beta, 0, 1e6, open_low=True)
    network = copy.deepcopy(ensemble.network)
    count = 0
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU | nn.LeakyReLU):
                setattr(module, name, Smooth(getattr(child, "negative_slope", 0), beta))
                count += 1
    if not count:
        raise ValueError(
            "smoothed: found no nn.ReLU or nn.LeakyReLU module to smooth; write activations as modules, or attack "
            "without smoothing (beta=None) where the network is smooth already."
        )
    return replace(ensemble, network=network.eval())


class Smooth(nn.Module):
    """`s z + (1 - s) softplus_b(z)`."""

    def __init__(self, slope: float, beta: float) -> None:
        super().__init__()
        self.slope, self.beta = slope, beta

    def forward(self, z: Tensor) -> Tensor:
        """Apply it."""
        smooth = softplus(z, self.beta, threshold=50)
        return self.slope * z + (1 - self.slope) * smooth if self.slope else smooth

    def extra_repr(self) -> str:
        """Settings, for printing."""
        return f"slope={self.slope:g}, beta={self.beta:g}"
