"""Shifts: simple changes of images, for predictions away from the training distribution.

    rotated   by 30 degrees about the centre, bilinear, black outside
    noisy     plus Gaussian noise of standard deviation 0.2, clipped to [0, 1]
    blurred   by a Gaussian of standard deviation 1.5 pixels, black outside

Every posterior is given the same images. They are crude on purpose: three directions in which a good posterior should
grow less certain, not a benchmark of corruptions.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.checks import check_images

Shift = Callable[[Tensor], Tensor]


def rotated(images: Tensor, degrees: float = 30.0) -> Tensor:
    """Images `[B, C, H, W]` turned anticlockwise about their centre.

    >>> rotated(torch.tensor([[[[1., 2.], [3., 4.]]]]), 90.0).round()
    tensor([[[[2., 4.],
              [1., 3.]]]])
    """
    _check("diagnostics.rotated", images)
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    height, width = images.shape[-2:]
    matrix = [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]]
    theta = torch.tensor([matrix], dtype=images.dtype, device=images.device).expand(len(images), 2, 3)
    return F.grid_sample(images, F.affine_grid(theta, list(images.shape), align_corners=False), align_corners=False)


def noisy(images: Tensor, deviation: float = 0.2, *, seed: int = 0) -> Tensor:
    """Images `[B, ...]` plus Gaussian noise, clipped to [0, 1]."""
    check_images("diagnostics.noisy", images)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed), dtype=images.dtype)
    return (images + deviation * noise.to(images.device)).clamp(0, 1)


def blurred(images: Tensor, deviation: float = 1.5) -> Tensor:
    """Images `[B, C, H, W]` convolved with a Gaussian that is cut off at three standard deviations.

    >>> float(blurred(torch.ones(1, 1, 21, 21), 1.5)[0, 0, 10, 10].round(decimals=5))
    1.0
    """
    _check("diagnostics.blurred", images)
    reach = math.ceil(3 * deviation)
    line = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = (-0.5 * (line / deviation).square()).exp()
    weights = weights / weights.sum()
    planes = images.flatten(0, 1)[:, None]
    planes = F.conv2d(planes, weights.view(1, 1, -1, 1), padding=(reach, 0))
    planes = F.conv2d(planes, weights.view(1, 1, 1, -1), padding=(0, reach))
    return planes.view_as(images)


SHIFTS: dict[str, Shift] = {"rotated": rotated, "noisy": noisy, "blurred": blurred}


def shifts_for(images: Tensor) -> dict[str, Shift]:
    """The shifts that images of this shape allow: features without pixels can only be noisy."""
    return SHIFTS if images.ndim == 4 else {"noisy": noisy}


def _check(call: str, images: Tensor) -> None:
    check_images(call, images)
    if images.ndim != 4:
        raise ValueError(f"{call}: expected images [B, C, H, W], got shape {tuple(images.shape)}.")
