"""Chance level: what a score gives for the map of another image, and the score corrected for it.

    chance_i = score(clean map of image i, attacked map of image p(i)),  p a random permutation with p(i) != i
    corrected_i = (score_i - mean chance) / (1 - mean chance)

A score of maps that have nothing to do with each other is rarely 0: digits share their middle. The corrected value is 1
for an unchanged map and 0 on average for another image's; the correction is that of Cohen's kappa ("A coefficient of
agreement for nominal scales", 1960).

There are two levels, and they differ. With attacked maps of other images, as above, 0 means that nothing of this image
is left beyond what all attacked maps have in common. With their clean maps (give the clean maps twice), 0 means that
the attacked map is as far off as the explanation of another image; this level does not depend on the attack. For k-LRP
at 20 percent of `fc2` on MNIST under FGSM at 0.2 they were 0.34 and 0.46, where the score itself was 0.54.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def chance_level(
    score: Callable[..., Tensor],
    clean: Tensor,
    attacked: Tensor,
    *,
    seed: int = 0,
    image_axes: int | None = None,
    **settings: Any,
) -> Tensor:
    """The score of each image's clean map with another image's attacked map.

    Args:
        score: a score of maps of this room.
        clean, attacked: maps `[..., B, *image]` of one shape, at least two images; the clean maps twice for the level
            that does not depend on the attack.
        seed: which permutation of the images; the same seed gives the same partners for every score and ensemble.
        image_axes: trailing axes of one image; None means 3, or 1 for maps `[B, features]`.
        settings: what the score takes besides, such as `k`.

    Returns:
        Chance values `[..., B]`.

    >>> from holdfast.scores import cosine
    >>> maps = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> chance_level(cosine, maps, maps, seed=1)
    tensor([1., 1., 1.])
    """
    if getattr(getattr(score, "facts", None), "compares", None) != "maps":
        name = getattr(score, "__name__", repr(score))
        raise ValueError(f"chance_level: {name} does not compare maps; use k_lrp, spearman or cosine.")
    axes = image_axes if image_axes is not None else (1 if attacked.ndim == 2 else 3)
    if not 1 <= axes < attacked.ndim:
        raise ValueError(
            f"chance_level: maps of shape {tuple(attacked.shape)} do not have {axes} image axes after the images; "
            "pass image_axes=."
        )
    batch = attacked.ndim - axes - 1
    partners = other_images(attacked.shape[batch], seed).to(attacked.device)
    return score(clean, attacked.index_select(batch, partners), image_axes=image_axes, **settings)


def chance_corrected(values: Tensor, chance: Tensor) -> Tensor:
    """A score on the scale where another image's map is 0 on average and the same map is 1.

    Args:
        values: the score `[..., B]`.
        chance: `chance_level` of the same maps `[..., B]`; its mean over the images is what counts.

    Returns:
        Corrected values `[..., B]`, negative below chance; NaN where the chance level is 1, for then maps of all
        images are alike and the score says nothing.

    >>> chance_corrected(torch.tensor([1.0, 0.7, 0.4]), torch.tensor([0.3, 0.4, 0.5]))
    tensor([1.0000, 0.5000, 0.0000])
    """
    if values.shape != chance.shape or values.ndim == 0 or values.numel() == 0:
        raise ValueError(
            f"chance_corrected: expected values and chance of one shape [..., B], got {tuple(values.shape)} and "
            f"{tuple(chance.shape)}."
        )
    level = chance.mean(-1, keepdim=True)
    corrected = (values - level) / (1 - level)
    return torch.where(level < 1, corrected, torch.nan)


def other_images(count: int, seed: int = 0) -> Tensor:
    """For each of `count` images the number of another one, none used twice: a random cycle through all images.

    >>> other_images(2)
    tensor([1, 0])
    """
    if count < 2:
        raise ValueError(f"other_images: a chance level needs at least two images, got {count}.")
    cycle = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    partners = torch.empty_like(cycle)
    partners[cycle] = cycle.roll(1)
    return partners
