"""Manifolds in a space of higher dimension, whose tangent at every point is known.

    embedded_moons      the two half circles of `half_moons` without noise: curves, tangent of dimension 1
    embedded_spheres    two concentric spheres of radii 1 and 1.3 (Gilmer et al. 2018, arXiv:1801.02774): tangent of
                        dimension d

    x = 1/2 + s Q z,      z on the manifold, Q a random matrix with orthonormal columns, s so that x lies in [0, 1]

So classes can be told apart without error, and everything that a network does across the manifold is its own choice.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.checks import check_count
from holdfast.data.dataset import Dataset, Split

OUTER = 1.3  # radius of the outer sphere


@dataclass(frozen=True, eq=False)
class ManifoldSplit(Split):
    """Points on a manifold.

    Attributes:
        tangents: float32 `[N, F, d]`, an orthonormal basis of the tangent space at each point, as columns.
    """

    tangents: Tensor | None = None

    def __getitem__(self, rows: slice | Tensor | Sequence[int]) -> "ManifoldSplit":
        """Some of the points."""
        return ManifoldSplit(self.images[rows], self.labels[rows], tangents=self.tangents[rows])


def embedded_moons(*, ambient: int = 20, train: int = 4000, test: int = 1000, seed: int = 0) -> Dataset:
    """Two half circles in `ambient` dimensions.

    >>> data = embedded_moons(ambient=5, train=10, test=4)
    >>> data.train.images.shape, data.train.tangents.shape
    (torch.Size([10, 5]), torch.Size([10, 5, 1]))
    """
    _check("embedded_moons", ambient, 2, train, test)
    g = torch.Generator().manual_seed(seed)
    angle = math.pi * torch.rand(train + test, generator=g, dtype=torch.float64)
    labels = torch.randint(2, (train + test,), generator=g)
    sign = (1.0 - 2.0 * labels)[:, None]  # the lower moon is the upper one turned by half a turn, and moved
    points = sign * torch.stack([angle.cos(), angle.sin()], 1) + labels[:, None] * torch.tensor([1.0, 0.5]).double()
    tangents = torch.stack([-angle.sin(), angle.cos()], 1)[..., None]
    centred = points - torch.tensor([0.5, 0.25], dtype=torch.float64)
    return _embedded("embedded-moons", centred, tangents, labels, ambient, train, g, ("upper moon", "lower moon"))


def embedded_spheres(
    *, dimension: int = 2, ambient: int = 20, train: int = 4000, test: int = 1000, seed: int = 0
) -> Dataset:
    """Two concentric spheres of `dimension` dimensions in `ambient` ones.

    >>> embedded_spheres(dimension=2, ambient=6, train=10, test=4).test.tangents.shape
    torch.Size([4, 6, 2])
    """
    check_count("embedded_spheres", "dimension", dimension)
    _check("embedded_spheres", ambient, dimension + 1, train, test)
    g = torch.Generator().manual_seed(seed)
    normals = torch.randn(train + test, dimension + 1, generator=g, dtype=torch.float64)
    normals = normals / normals.norm(dim=1, keepdim=True)
    labels = torch.randint(2, (train + test,), generator=g)
    points = normals * torch.where(labels == 0, 1.0, OUTER)[:, None]
    tangents = torch.linalg.qr(normals[..., None], mode="complete").Q[..., 1:]  # what is orthogonal to the normal
    return _embedded("embedded-spheres", points, tangents, labels, ambient, train, g, ("inner", "outer"))


def _embedded(
    name: str, points: Tensor, tangents: Tensor, labels: Tensor, ambient: int, train: int, g: torch.Generator,
    classes: tuple[str, str],
) -> Dataset:  # fmt: skip
    turn = torch.linalg.qr(torch.randn(ambient, points.shape[1], generator=g, dtype=torch.float64)).Q
    x = points @ turn.T
    x = (0.5 + 0.5 * x / x.abs().max()).clamp(0, 1).float()
    t = (turn @ tangents).float()
    checksum = hashlib.sha256(x.numpy().tobytes() + labels.numpy().tobytes()).hexdigest()
    whole = ManifoldSplit(x, labels, tangents=t)
    return Dataset(name, whole[:train], whole[train:], classes, checksum)


def _check(call: str, ambient: int, least: int, train: int, test: int) -> None:
    check_count(call, "train", train)
    check_count(call, "test", test)
    check_count(call, "ambient", ambient, least)
