"""The evidence lower bound of variational fits: the factor N / B, the exact divergence, what a fit reports of both.

    ELBO = N mean_batch E_q[log p(y | x, w)] - T KL(q || prior)

for a diagonal Gaussian q with variances r p^2 and means m around a prior N(0, p^2):
KL = sum (r - 1 - log r + m^2 / p^2) / 2.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

RISING = 0.05  # share of the ELBO gained in the last third of the epochs from which a fit counts as still rising


@dataclass(frozen=True)
class Elbo:
    """The evidence lower bound of a data set of `count` images, estimated from a batch of any size, in nats.

    >>> elbo = Elbo(count=1000)
    >>> one, two = torch.tensor([-0.5]), torch.tensor([-0.4, -0.6])
    >>> bool(elbo(one, torch.tensor(3.0)) == elbo(two, torch.tensor(3.0)))
    True
    """

    count: int
    temperature: float = 1.0

    def __call__(self, log_likelihoods: Tensor, divergence: Tensor) -> Tensor:
        """From the log likelihood of each image of a batch `[B]`, and the divergence of the whole posterior."""
        return self.count * log_likelihoods.mean() - self.temperature * divergence


def report(
    curves: Mapping[str, list[float]], ratios: Mapping[str, float], temperature: float
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The summary of a fit, and a warning where the ELBO was still rising."""
    elbo, divergence = curves["elbo"], curves["divergence"][-1]
    third = max(1, len(elbo) // 3)
    gain = elbo[-1] - elbo[-1 - third] if len(elbo) > third else math.inf
    summary = {
        "elbo_per_image": elbo[-1],
        "log_likelihood_per_image": elbo[-1] + temperature * divergence,
        "divergence_per_image": divergence,
        "elbo_gain_of_last_third": gain if math.isfinite(gain) else None,
        "deviation_over_prior": dict(ratios),
    }
    if gain <= RISING * abs(elbo[-1]):
        return summary, ()
    if third < len(elbo):
        rise = f"rose by {gain:.3g} nats per image over the last third of the epochs, to {elbo[-1]:.3g}"
    else:
        rise = "was seen for one epoch only"
    return summary, (f"The ELBO {rise}: a longer fit would change this posterior.",)


def ratios_and_divergence(
    mean: Mapping[str, Tensor], log_ratio: Mapping[str, Tensor], scale: Mapping[str, float]
) -> tuple[dict[str, Tensor], Tensor]:
    """Variance of each weight over its prior variance, and the divergence of the whole posterior in nats."""
    ratios, total = {}, 0.0
    for name, m in mean.items():
        ratios[name], cost = _Ratio.apply(log_ratio[name], m, scale[name])
        total = total + cost
    return ratios, total


class _Ratio(torch.autograd.Function):
    """Variance ratio r = exp(l) and the divergence, sum (r - 1 - l + m^2 / p^2) / 2, in few passes over the weights."""

    @staticmethod
    def forward(ctx: Any, log_ratio: Tensor, mean: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        ratio, flat = log_ratio.exp(), mean.flatten()
        ctx.save_for_backward(ratio, mean)
        ctx.scale = scale
        return ratio, 0.5 * (ratio.sum() - log_ratio.sum() - ratio.numel() + flat.dot(flat) / scale**2)

    @staticmethod
    def backward(ctx: Any, from_ratio: Tensor, from_cost: Tensor) -> tuple[Tensor, Tensor, None]:
        ratio, mean = ctx.saved_tensors
        half = 0.5 * from_cost
        return (from_ratio + half).mul_(ratio).sub_(half), mean * (from_cost / ctx.scale**2), None
