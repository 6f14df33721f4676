"""Half moons: two interleaved half circles in the plane, with Gaussian noise.

    upper moon   (cos t, sin t)                t evenly spaced in [0, pi], both ends included
    lower moon   (1 - cos t, 1/2 - sin t)
    x = moon + noise * N(0, I),   then (x - min) / (max - min), one minimum and maximum for both axes

The settings are those of Carbone et al., "Robustness of Bayesian Neural Networks to Gradient-Based Attacks" (2020):
30,000 points, noise 0.1, the first 80 % of the shuffled points for training.
"""

import hashlib
import math

import torch

from holdfast.checks import check_range
from holdfast.data.dataset import Dataset, Split


def half_moons(*, points: int = 30_000, noise: float = 0.1, train: float = 0.8, seed: int = 0) -> Dataset:
    """Two half moons, shuffled and scaled to [0, 1].

    Args:
        points: how many in all, half of them (rounded up for the upper moon) on each moon; at least 4.
        noise: standard deviation of the noise, in radii of the moons.
        train: share of the points in the training split.
        seed: of the order and the noise.

    Returns:
        Images `[N, 2]` and labels 0 (upper) or 1 (lower).

    >>> half_moons(points=10).train.images.shape
    torch.Size([8, 2])
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < 4:
        raise ValueError(f"half_moons: points must be a whole number of at least 4, got {points!r}.")
    check_range("half_moons", "noise", noise, 0, 1e6)
    check_range("half_moons", "train", train, 0, 1)
    first = int(train * points)
    if not 1 <= first < points:
        raise ValueError(f"half_moons: train={train} of {points} points leaves one split empty; choose another share.")

    upper = (points + 1) // 2
    t = torch.linspace(0, math.pi, upper, dtype=torch.float64)
    s = torch.linspace(0, math.pi, points - upper, dtype=torch.float64)
    moons = torch.cat([torch.stack([t.cos(), t.sin()], 1), torch.stack([1 - s.cos(), 0.5 - s.sin()], 1)])
    labels = (torch.arange(points) >= upper).long()

    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(points, generator=generator)
    x = moons[order] + noise * torch.randn(points, 2, dtype=torch.float64, generator=generator)
    x = ((x - x.min()) / (x.max() - x.min())).float()
    y = labels[order]

    checksum = hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()
    return Dataset(
        "half-moons", Split(x[:first], y[:first]), Split(x[first:], y[first:]), ("upper moon", "lower moon"), checksum
    )
