"""Objectives on explanations: what an attack on heatmaps raises.

Each takes the maps of the attacked images `[b, *image]`, those of the clean images, and the numbers `[b]` of the images
in the batch that the attack was given, and returns one value per image. `r` is the share of a pixel, `|R_i| / sum |R|`,
channels summed first; `T` the pixels with the k percent largest |R| on the clean image.

    top_k           -sum_{i in T} r_i                          (Ghorbani, Abid, Zou 2019, arXiv 1710.10547)
    overlap         -mean_{i in T} sigmoid((|R_i| - t) / w)    t: what it takes to be in the top k percent now
    target_region   sum_{i in A} r_i for a region A            (the same)
    mass_centre     |c(r) - c(r_clean)|, c the mean position   (the same)
    target_map      correlation of R with another map          (Dombrowski et al. 2019, arXiv 1906.07983)
    away            -correlation of R with the clean image's

An objective may have `variants`: functions of the same value with another derivative, which later starts follow.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.checks import check_range

MapObjective = Callable[[Tensor, Tensor, Tensor], Tensor]  # (maps, clean maps, which images) -> value per image [b]
MapCriterion = Callable[[Tensor, Tensor, Tensor], Tensor]  # the same -> whether the explanation counts as moved [b]


def top_k(k: float) -> MapObjective:
    """Take relevance away from the `k` percent of pixels that had most of it.

    >>> clean = torch.tensor([[[[4., 1.], [0., 3.]]]])
    >>> top_k(50)(torch.tensor([[[[1., 1.], [1., 1.]]]]), clean, torch.tensor([0]))
    tensor([-0.5000])
    """
    check_range("top_k", "k", k, 0, 100, open_low=True)

    def objective(maps: Tensor, clean: Tensor, images: Tensor) -> Tensor:
        return -(shares(maps) * top_pixels(clean, k)).sum(1)

    return _named(objective, f"top_k({k:g})")


def overlap(k: float, width: float = 0.2) -> MapObjective:
    """Lower the k-LRP overlap itself, made smooth: push the clean image's top pixels below the threshold of the top.

    Threshold and scale pass on half of their derivative, from the third start of an attack on all of it, from the fifth
    none. Of the top 5 % of fc2 on MNIST at linf 0.1 the three left with epsilon-LRP 0.518, 0.609 and 0.546, with
    gradients 0.304, 0.406 and 0.341, but with gamma-LRP 0.76, 0.68 and 0.78.

    Args:
        k: percent of the pixels.
        width: of the sigmoid, in standard deviations of |R|.

    >>> clean = torch.tensor([[[[4., 1.], [0., 3.]]]])
    >>> good, bad = torch.tensor([[[[0., 4.], [3., 1.]]]]), clean
    >>> objective = overlap(50)
    >>> bool(objective(good, clean, torch.tensor([0])) > objective(bad, clean, torch.tensor([0])))
    True
    """
    check_range("overlap", "k", k, 0, 100, open_low=True)
    check_range("overlap", "width", width, 0, 1e6, open_low=True)

    objective = _overlap(k, width, 0.5)
    objective.variants = (_overlap(k, width, 1.0), _overlap(k, width, 0.0))
    return objective


def _overlap(k: float, width: float, share: float) -> MapObjective:
    passing = lambda values: share * values + (1 - share) * values.detach()

    def objective(maps: Tensor, clean: Tensor, images: Tensor) -> Tensor:
        size, top = pixels(maps).abs(), top_pixels(clean, k)
        count = int(top[0].sum())
        ordered = size.sort(1, descending=True).values
        threshold = passing(ordered[:, count - 1 : count + 1].mean(1, keepdim=True))
        scale = width * passing(size.std(1, keepdim=True)).clamp(min=torch.finfo(size.dtype).tiny ** 0.5)
        return -(torch.sigmoid((size - threshold) / scale) * top).sum(1) / count

    return _named(objective, f"overlap({k:g})")


def target_region(region: Tensor) -> MapObjective:
    """Bring relevance into a region: a mask `[H, W]` for all images, or one each `[B, H, W]`.

    >>> region = torch.tensor([[True, False], [False, False]])
    >>> target_region(region)(torch.tensor([[[[3., 1.], [0., 0.]]]]), None, torch.tensor([0]))
    tensor([0.7500])
    """
    if not isinstance(region, Tensor) or region.dtype != torch.bool:
        raise TypeError("target_region: region must be a tensor of booleans, one mask [H, W] or one per image.")
    if not bool(region.any()):
        raise ValueError("target_region: the region holds no pixel.")

    def objective(maps: Tensor, clean: Tensor | None, images: Tensor) -> Tensor:
        pixels = shares(maps)
        one = region.numel() == pixels.shape[1] or (region.ndim == 2 and maps.ndim == 4)
        mask = (region[None] if one else _of_images("target_region", region, images)).flatten(1)
        if mask.shape[1] != pixels.shape[1]:
            raise ValueError(
                f"target_region: the mask has {mask.shape[1]} pixels per image, the maps {pixels.shape[1]}; "
                "channels are summed, so give masks [H, W]."
            )
        return (pixels * mask.to(pixels.device)).sum(1)

    return _named(objective, "target_region")


def mass_centre() -> MapObjective:
    """Move the centre of the relevance, in pixels, away from where it was.

    >>> clean = torch.tensor([[[[1., 0.], [0., 0.]]]])
    >>> mass_centre()(torch.tensor([[[[0., 1.], [0., 0.]]]]), clean, torch.tensor([0]))
    tensor([1.])
    """

    def objective(maps: Tensor, clean: Tensor, images: Tensor) -> Tensor:
        # squared under the root plus a grain: the derivative of a length is not defined where nothing has moved
        return ((_centre(maps) - _centre(clean)).square().sum(1) + 1e-12).sqrt()

    return _named(objective, "mass_centre")


def target_map(target: Tensor) -> MapObjective:
    """Make the map look like another one `[*image]`, or like one for each image `[B, *image]`: raise the correlation.

    >>> target = torch.tensor([[[0., 2.], [0., 0.]]])
    >>> target_map(target)(torch.tensor([[[[0., 5.], [0., 0.]]]]), None, torch.tensor([0])).round(decimals=4)
    tensor([1.])
    """

    def objective(maps: Tensor, clean: Tensor | None, images: Tensor) -> Tensor:
        goal = target[None] if target.ndim == maps.ndim - 1 else _of_images("target_map", target, images)
        if goal.shape[1:] != maps.shape[1:]:
            raise ValueError(
                f"target_map: the target has the shape {tuple(goal.shape[1:])}, the maps {tuple(maps.shape[1:])}."
            )
        return correlation(maps, goal.to(maps).expand_as(maps))

    return _named(objective, "target_map")


def away() -> MapObjective:
    """Make the map unlike the clean image's: lower their correlation."""
    return _named(lambda maps, clean, images: -correlation(maps, clean), "away")


def overlap_below(k: float, threshold: float) -> MapCriterion:
    """Criterion: less than `threshold` of the `k` percent most relevant pixels (by |R|) are still among them.

    >>> clean = torch.tensor([[[[4., 1.], [0., 3.]]]])
    >>> overlap_below(50, 0.6)(torch.tensor([[[[4., 3.], [0., 1.]]]]), clean, torch.tensor([0]))
    tensor([True])
    """
    check_range("overlap_below", "k", k, 0, 100, open_low=True)
    check_range("overlap_below", "threshold", threshold, 0, 1, open_low=True)

    def criterion(maps: Tensor, clean: Tensor, images: Tensor) -> Tensor:
        before, after = top_pixels(clean, k), top_pixels(maps, k)
        return (before & after).sum(1) < threshold * before.sum(1)

    return _named(criterion, f"overlap_below({k:g}, {threshold:g})")


def shares(maps: Tensor) -> Tensor:
    """Share of every pixel in a map's absolute relevance: maps `[b, *image]` to `[b, pixels]`."""
    size = pixels(maps).abs()
    return size / size.sum(1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)


def pixels(maps: Tensor) -> Tensor:
    """Maps `[b, C, H, W]` to `[b, H * W]`, channels summed; maps of other shapes are flattened."""
    return (maps.sum(1) if maps.ndim == 4 else maps).flatten(1)


def top_pixels(maps: Tensor, k: float) -> Tensor:
    """The `k` percent of pixels with the largest |R| `[b, pixels]`."""
    size = pixels(maps.detach()).abs()
    count = percent("top_pixels", size.shape[1], k)
    return torch.zeros_like(size, dtype=torch.bool).scatter(1, size.topk(count, 1).indices, True)


def percent(call: str, pixels: int, k: float) -> int:
    """How many of `pixels` pixels `k` percent are, rounded down; less than one is an error.

    >>> percent("top_pixels", 784, 20)
    156
    """
    count = int(pixels * k / 100 + 1e-9)
    if not count:
        raise ValueError(f"{call}: k={k} percent of {pixels} pixels is less than one pixel; use a larger k.")
    return count


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of two stacks of maps, image by image `[b]`; zero where a map is constant."""
    a, b = (pixels(m) - pixels(m).mean(1, keepdim=True) for m in (a, b))
    tiny = torch.finfo(a.dtype).tiny ** 0.5
    return (a * b).sum(1) / (a.norm(dim=1).clamp(min=tiny) * b.norm(dim=1).clamp(min=tiny))


def _of_images(call: str, given: Tensor, images: Tensor) -> Tensor:
    if len(given) <= int(images.max()):
        raise ValueError(f"{call}: expected one for each image, got {len(given)} for at least {int(images.max()) + 1}.")
    return given[images.to(given.device)]


def _centre(maps: Tensor) -> Tensor:
    height, width = (1, *maps.shape[1:])[-2:]
    share = shares(maps)
    if share.shape[1] != height * width:
        raise ValueError(f"mass_centre: maps must be images [b, C, H, W] or [b, H, W], got {tuple(maps.shape)}.")
    place = torch.arange(height * width, device=maps.device)
    row, column = place // width, place % width
    return torch.stack([(share * row).sum(1), (share * column).sum(1)], 1)


def _named(function: Callable, name: str) -> Callable:
    function.__name__ = name
    return function
