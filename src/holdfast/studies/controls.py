"""Controls: ensembles that a robustness claim must not favour, made from others.

loud           the same decisions with logits times a factor: where softmax saturates, float32 gradients vanish
smooth_grad    the same network on noisy copies of the image: what averaging does without a posterior
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from holdfast.checks import check_count, check_range
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.networks import learnable_layers, shifted


def loud(ensemble: Ensemble, *, factor: float = 100.0) -> Ensemble:
    """The ensemble with every logit multiplied by `factor`, by way of the last layer's weights.

    Args:
        ensemble: of networks whose last learnable layer gives the logits.
        factor: above 0.

    >>> from torch import nn
    >>> ensemble, x = Ensemble.from_networks(nn.Sequential(nn.Linear(3, 2))), torch.rand(4, 3)
    >>> bool(torch.allclose(loud(ensemble, factor=8.0).logits(x), 8 * ensemble.logits(x)))
    True
    """
    check_range("loud", "factor", factor, 0, 1e6, open_low=True)
    last = learnable_layers(ensemble.network)[-1]
    weights = {k: factor * v if k in (f"{last}.weight", f"{last}.bias") else v for k, v in ensemble.weights.items()}
    return replace(ensemble, weights=weights, diagnostics=None)


def smooth_grad(ensemble: Ensemble, *, copies: int = 10, spread: float = 0.15, seed: int = 0) -> Ensemble:
    """Every draw on noisy copies of the image, each copy a draw of its own: `f_n(x) = f(x + e_n)`.

        e_n ~ N(0, spread^2),  n = 1 .. copies, the same for all images

    The mean of its maps is SmoothGrad with that method in the place of the gradient (Smilkov et al. 2017,
    arXiv:1706.03825), and an attack that sees the ensemble sees the average.

    Args:
        ensemble: of networks with a recipe, which says the shape of an image.
        copies: noisy copies of the image.
        spread: standard deviation of the noise, in units of the images; the paper takes 10 to 20 % of their range.
        seed: of the noise.

    Returns:
        an ensemble of `S * copies` draws: those of draw s are `[s * copies : (s + 1) * copies]`.

    Raises:
        ValueError: settings out of range; a network without a recipe.

    >>> from holdfast.networks import fc2
    >>> ensemble, x = Ensemble.from_networks(fc2((1, 4, 4), 3, width=8)), torch.rand(2, 1, 4, 4)
    >>> noisy = smooth_grad(ensemble, copies=5)
    >>> len(noisy), bool(torch.allclose(noisy[3].logits(x), ensemble.logits(x + noisy.weights["shift.shift"][3])))
    (5, True)
    """
    check_count("smooth_grad", "copies", copies)
    check_range("smooth_grad", "spread", spread, 0, 1e6)
    shape = _image_shape(getattr(ensemble.network, "recipe", None))
    generator = torch.Generator().manual_seed(seed)
    noise = spread * torch.randn(copies, *shape, generator=generator, dtype=torch.float64)
    weights = {"shift.shift": noise.to(ensemble.device, ensemble.dtype).repeat(len(ensemble), *[1] * len(shape))}
    weights |= {f"network.{k}": v.repeat_interleave(copies, 0) for k, v in ensemble.weights.items()}
    settings = {"copies": copies, "spread": spread, "seed": seed}
    return Ensemble(skeleton(shifted(ensemble.network, shape)), weights, Diagnostics("smooth_grad", settings))


def _image_shape(recipe: Mapping[str, Any] | None) -> tuple[int, ...]:
    """The shape of one image, from the recipe of the innermost network."""
    while recipe is not None and "shape" not in recipe:
        recipe = recipe.get("network")
    if recipe is None:
        raise ValueError(
            "smooth_grad: the network has no recipe that says the shape of an image; build it with holdfast.networks."
        )
    return tuple(recipe["shape"])
