"""Fingerprint: which images and labels weights were inferred from, as diagnostics and banks record it."""

import hashlib
from typing import Any

import torch
from torch import Tensor

from holdfast.data.dataset import Split


def fingerprint(*tensors: Tensor) -> str:
    """The sha256 of some tensors: their types, shapes and bytes, wherever they are."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def data_of(data: Split) -> dict[str, Any]:
    """Data as they are written into diagnostics: how many images, and the sha256 of images and labels.

    >>> data_of(Split(torch.zeros(2, 3), torch.tensor([0, 1])))
    {'images': 2, 'sha256': 'c69f2d2b...'}
    """
    return {"images": len(data), "sha256": fingerprint(data.images, data.labels)}
