"""Tangents of image data: directions in which an image of a class can be changed into another image of that class.

shift_tangents    the brighter item of `placed` moved by a pixel, right and down: exact up to the pixel grid
local_pca         principal directions of an image's nearest neighbours of its class: an estimate
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.checks import check_count
from holdfast.data.dataset import Split
from holdfast.data.placed import PlacedSplit


def shift_tangents(split: PlacedSplit) -> Tensor:
    """Orthonormal basis `[N, pixels, 2]` of the central differences under shifts of the brighter item by one pixel.

    >>> from holdfast.data import load
    >>> shift_tangents(load("placed", train=2, test=3).test).shape
    torch.Size([3, 3136, 2])
    """
    differences = [_shifted(split, *step) - _shifted(split, *[-s for s in step]) for step in ((0, 1), (1, 0))]
    return torch.linalg.qr(torch.stack([d.flatten(1) for d in differences], -1)).Q


def _shifted(split: PlacedSplit, down: int, right: int) -> Tensor:
    item, mask = (_moved(t, down, right) for t in (split.images, split.masks[:, None]))
    return torch.where(mask, item, split.removed("first"))


def _moved(images: Tensor, down: int, right: int) -> Tensor:
    height, width = images.shape[-2:]
    padded = F.pad(images, (1, 1, 1, 1))
    return padded[..., 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def local_pca(points: Split, reference: Split, *, neighbours: int = 50, dimension: int = 10) -> Tensor:
    """Orthonormal basis `[N, F, dimension]` of the directions in which the nearest neighbours of a class vary most.

    Args:
        points: where the tangents are wanted.
        reference: images among which the neighbours are looked for, those with the label of the point.
        neighbours: how many, more than `dimension`.
        dimension: of the tangent space.

    Raises:
        ValueError: a class with fewer than `dimension` + 1 images.

    >>> flat = torch.cat([torch.rand(40, 2), torch.zeros(40, 3)], 1)  # a plane in five dimensions
    >>> split = Split(flat, torch.zeros(40, dtype=torch.int64))
    >>> local_pca(split[:3], split, neighbours=10, dimension=2)[..., 2:, :].abs().max() < 1e-5
    tensor(True)
    """
    check_count("local_pca", "dimension", dimension)
    check_count("local_pca", "neighbours", neighbours, dimension + 1)
    x, pool = points.images.flatten(1), reference.images.flatten(1)
    found = x.new_empty(*x.shape, dimension)
    for label in points.labels.unique():
        own, rows = pool[reference.labels == label], (points.labels == label).nonzero().flatten()
        if len(own) <= dimension:
            raise ValueError(f"local_pca: class {int(label)} has {len(own)} images, fewer than {dimension + 1}.")
        near = torch.cdist(x[rows], own).topk(min(neighbours, len(own)), largest=False).indices
        for row, chosen in zip(rows, near, strict=True):
            centred = own[chosen] - own[chosen].mean(0)
            found[row] = torch.linalg.svd(centred, full_matrices=False).Vh[:dimension].T
    return found
