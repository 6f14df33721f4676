"""Localisation: does an explanation point at the object? Maps against boxes or exact masks.

With g the map (the channels of a pixel summed), A all pixels, B the region, P = {g > 0}:

    localisation           |P n B| / |P u B|                                     Chattopadhyay et al. 2017
    energy_game            sum_{P n B} g / sum_P g                               Wang et al. 2020, energy-based pointing
    positive_percentage    sum_{P n B} g / sum_B |g|                             Wang et al. 2021
    concentration          sum_{i in B} |h_i| / |z_i - c|,  h = g / sum_B |g|,   Wang et al. 2021
                           c = sum_{i in B} |h_i| z_i
    pointing_game          is the largest g in B?                                Zhang et al. 2016
    relevance_mass         sum_B |g| / sum_A |g|                                 Arras, Osman, Samek 2022
    relevance_rank         share of B among the |B| pixels with the largest |g|  Arras, Osman, Samek 2022

Wang et al. 2021 is arXiv:2103.11257, whose formulas are these. Coordinates z of the concentration are pixel centres in
parts of the image's width and height, so that a value means the same at every size; a distance counts as half a pixel
at least, because the centre may hit one.

Each function takes maps `[..., B, *image]` and gives values `[..., B]`. Higher is better. NaN where the region says
nothing (see `regions`), the map is not finite, or the score is not defined for it (no positive pixel, nothing in B).
None of them means anything alone: `localise` puts noise, an edge detector and a central blob beside.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from holdfast.scores.regions import region_masks

Score = Callable[..., Tensor]


def localisation(maps: Tensor, region: Tensor, *, image_axes: int = 3) -> Tensor:
    """Overlap of the positive pixels and the region: intersection over union, in [0, 1].

    Args:
        maps: `[..., B, C, H, W]`, or `[..., B, H, W]` with `image_axes=2`.
        region: boxes `[B, 4]` of whole numbers, or masks `[B, H, W]` of bool.
        image_axes: 3, or 2 for maps without channels.

    >>> maps = torch.tensor([[[[1., 1.], [-1., 0.]]]])
    >>> localisation(maps, torch.tensor([[[True, False], [True, False]]]))
    tensor([0.3333])
    """
    g, inside, defined = _pixels("localisation", maps, region, image_axes)
    positive = g > 0
    return _defined((positive & inside).sum(-1) / (positive | inside).sum(-1), defined, g)


def energy_game(maps: Tensor, region: Tensor, *, image_axes: int = 3) -> Tensor:
    """Share of the positive relevance that lies in the region, in [0, 1]. Arguments as for `localisation`."""
    g, inside, defined = _pixels("energy_game", maps, region, image_axes)
    g = g.clamp(min=0)
    return _share((g * inside).sum(-1), g.sum(-1), defined, g)


def positive_percentage(maps: Tensor, region: Tensor, *, image_axes: int = 3) -> Tensor:
    """Share of the positive in the total `|g|` of the region, in [0, 1]. Arguments as for `localisation`."""
    g, inside, defined = _pixels("positive_percentage", maps, region, image_axes)
    return _share((g.clamp(min=0) * inside).sum(-1), (g.abs() * inside).sum(-1), defined, g)


def concentration(maps: Tensor, region: Tensor, *, image_axes: int = 3) -> Tensor:
    """How close `|g|` within the region lies to its own centre of mass; above 0, in 1 / (image sides).

    Arguments as for `localisation`.
    """
    g, inside, defined = _pixels("concentration", maps, region, image_axes)
    height, width = maps.shape[-2:]
    x = ((torch.arange(width, dtype=g.dtype, device=g.device) + 0.5) / width).repeat(height)
    y = ((torch.arange(height, dtype=g.dtype, device=g.device) + 0.5) / height).repeat_interleave(width)
    mass = g.abs() * inside
    total = mass.sum(-1, keepdim=True)
    share = mass / torch.where(total > 0, total, 1)
    centre = [(share * z).sum(-1, keepdim=True) for z in (x, y)]
    distance = torch.hypot(x - centre[0], y - centre[1]).clamp(min=0.5 / max(height, width))
    return _defined((share / distance).sum(-1), defined & (total[..., 0] > 0), g)


def pointing_game(maps: Tensor, region: Tensor, *, image_axes: int = 3) -> Tensor:
    """1 where the largest value lies in the region, else 0; of several largest, their share in it.

    Arguments as for `localisation`.
    """
    g, inside, defined = _pixels("pointing_game", maps, region, image_axes)
    top = g == g.amax(-1, keepdim=True)
    return _defined((top & inside).sum(-1) / top.sum(-1), defined, g)


def relevance_mass(maps: Tensor, region: Tensor, *, image_axes: int = 3) -> Tensor:
    """Share of the total `|g|` that lies in the region, in [0, 1]. Arguments as for `localisation`."""
    g, inside, defined = _pixels("relevance_mass", maps, region, image_axes)
    return _share((g.abs() * inside).sum(-1), g.abs().sum(-1), defined, g)


def relevance_rank(maps: Tensor, region: Tensor, *, image_axes: int = 3) -> Tensor:
    """Of as many pixels as the region has, those with the largest `|g|`: the share of them in the region, in [0, 1].

    Where pixels tie for the last places each counts with the same part. Arguments as for `localisation`.
    """
    g, inside, defined = _pixels("relevance_rank", maps, region, image_axes)
    size, count = g.abs(), inside.sum(-1).expand(g.shape[:-1])
    last = size.sort(-1, descending=True).values.gather(-1, (count - 1).clamp(min=0)[..., None])
    above, tied = size > last, size == last
    room = (count - above.sum(-1)) / tied.sum(-1)
    return _defined(((above & inside).sum(-1) + room * (tied & inside).sum(-1)) / count.clamp(min=1), defined, g)


LOCALISATION: Mapping[str, Score] = MappingProxyType(
    {
        f.__name__: f
        for f in (
            localisation,
            energy_game,
            positive_percentage,
            concentration,
            pointing_game,
            relevance_mass,
            relevance_rank,
        )
    }
)


def _pixels(call: str, maps: Tensor, region: Tensor, image_axes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maps `[..., B, pixels]`, regions `[B, pixels]`, and where a score is defined `[..., B]`."""
    if not isinstance(maps, Tensor) or not maps.is_floating_point():
        kind = maps.dtype if isinstance(maps, Tensor) else type(maps).__name__
        raise TypeError(f"{call}: maps must be a floating-point torch.Tensor, got {kind}.")
    if image_axes not in (2, 3) or maps.ndim < image_axes + 1 or maps.numel() == 0:
        raise ValueError(
            f"{call}: expected maps [..., B, C, H, W], or [..., B, H, W] with image_axes=2, got {tuple(maps.shape)} "
            f"with image_axes={image_axes!r}."
        )
    g = (maps.sum(-3) if image_axes == 3 else maps).detach()
    region = region.to(g.device) if isinstance(region, Tensor) else region
    masks, usable = region_masks(call, region, *g.shape[-2:], g.shape[-3])
    g = g.flatten(-2)
    finite = g.isfinite().all(-1)
    return torch.where(finite[..., None], g, 0), masks.flatten(1), finite & usable


def _share(part: Tensor, whole: Tensor, defined: Tensor, g: Tensor) -> Tensor:
    return _defined(part / torch.where(whole > 0, whole, 1), defined & (whole > 0), g)


def _defined(values: Tensor, defined: Tensor, g: Tensor) -> Tensor:
    return torch.where(defined, values.to(g.dtype), torch.nan)
