"""k-LRP robustness: how many of the k percent most relevant pixels stay most relevant under the attack.

    "absolute"  |T(R) ∩ T(R~)| / |T(R)|,  T(R): the k percent of pixels with the largest |R|
    "signed"    the same, T(R): the k/2 percent with the largest and the k/2 percent with the smallest R

"absolute" is definition IV.1 of Carbone, Bortolussi and Sanguinetti, "Resilience of Bayesian layer-wise explanations
under adversarial attacks" (IJCNN 2022). "signed" is what their released code computes. In it a pixel that goes from the
top half to the bottom half still counts as kept.

Where pixels tie at the threshold (relevance is exactly zero wherever a pixel is black, so they often do), those that
come first in one random order of the pixels are taken: the same order for both maps and all images, fixed by `seed`. So
equal maps score 1, and the choice favours no corner of the image. The value is not comparable across k, and far from 0
for unrelated maps: report it beside `chance_level`.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from holdfast.attacks.explanation_objectives import percent
from holdfast.checks import check_range
from holdfast.progress import track
from holdfast.scores.facts import Facts, declare
from holdfast.scores.pairs import Channels, map_rows
from holdfast.tiles import MEMORY

Variant = Literal["absolute", "signed"]
BLOCK = 1 << 25  # bytes worked on at once: larger is not faster
COPIES = 8  # memory that a block takes, in units of one of its maps


@declare(Facts("maps", low=0.0, high=1.0, better="higher", differentiable=False))
def k_lrp(
    clean: Tensor,
    attacked: Tensor,
    *,
    k: float,
    variant: Variant = "absolute",
    channels: Channels = "sum",
    image_axes: int | None = None,
    seed: int = 0,
    memory: int = MEMORY,
) -> Tensor:
    """Overlap of the k percent most relevant pixels of two stacks of maps.

    Args:
        clean, attacked: maps `[..., B, *image]` of one shape, any number of leading axes.
        k: percent of the pixels, in (0, 100]; at least one pixel (two for "signed").
        variant: "absolute" (the definition) or "signed" (the published code), see above.
        channels: "sum" compares pixels, each with the sum of its channels; "separate" compares channel values.
        image_axes: trailing axes of one image; None means 3, or 1 for maps `[B, features]`.
        seed: which random order breaks ties.
        memory: bytes used at most beyond the maps, about.

    Returns:
        Values in [0, 1] of shape `[..., B]`; 1 where all of them stay.

    Raises:
        ValueError: maps of different shapes, not finite or empty; k out of range or below one pixel.

    >>> clean = torch.tensor([[4.0, -3.0, 2.0, 0.0]])
    >>> attacked = torch.tensor([[4.0, 0.0, -3.0, 2.0]])
    >>> k_lrp(clean, attacked, k=50), k_lrp(clean, attacked, k=50, variant="signed")
    (tensor([0.5000]), tensor([0.5000]))
    """
    check_range("k_lrp", "k", k, 0, 100, open_low=True)
    if variant not in ("absolute", "signed"):
        raise ValueError(f"k_lrp: variant must be 'absolute' or 'signed', got {variant!r}.")
    with torch.no_grad():
        first, second = map_rows("k_lrp", clean, attacked, channels=channels, image_axes=image_axes)
        leading, pixels = first.shape[:-1], first.shape[-1]
        count = selected_pixels(pixels, k, variant)
        order = torch.randperm(pixels, generator=torch.Generator().manual_seed(seed)).to(first.device)
        first, second = first.reshape(-1, pixels), second.reshape(-1, pixels)
        rows = max(1, min(memory, BLOCK) // (COPIES * pixels * first.element_size()))
        values = []
        for start in track(range(0, len(first), rows), "k-LRP"):
            a, b = (_select(m[start : start + rows].index_select(-1, order), count, variant) for m in (first, second))
            values.append(_count(a & b).to(torch.promote_types(clean.dtype, torch.float32)) / count)
        return torch.cat(values).to(clean.dtype).reshape(leading)


def selected_pixels(pixels: int, k: float, variant: Variant = "absolute") -> int:
    """How many of `pixels` pixels k percent are, rounded down; for "signed", two equal halves, each rounded down.

    >>> selected_pixels(784, 20), selected_pixels(784, 30, "signed")
    (156, 234)
    """
    if variant == "absolute":
        return percent("k_lrp", pixels, k)
    half = int(pixels * (k / 2) / 100)
    if not half:
        raise ValueError(
            f"k_lrp: k={k} percent of {pixels} pixels is less than two pixels, one for each sign; use a larger k."
        )
    return 2 * half


def _select(maps: Tensor, count: int, variant: Variant) -> Tensor:
    """Which entries `[rows, pixels]` are selected; among ties at the threshold, the first ones.

    The smallest take the last ones instead, so that no entry of a large tie is counted on both sides.
    """
    if variant == "absolute":
        return _largest(maps.abs(), count)
    return _largest(maps, count // 2) | _largest(-maps.flip(-1), count // 2).flip(-1)


def _largest(values: Tensor, count: int) -> Tensor:
    """The `count` largest entries of each row as a mask."""
    ordered = _sorted(values)
    threshold = ordered[:, -count, None]
    selected = values >= threshold
    if count == values.shape[-1]:
        return selected
    crowded = (ordered[:, -count - 1] == threshold[:, 0]).nonzero()[:, 0]  # rows in which not all ties find room
    if len(crowded):
        ties = selected[crowded]
        above = values[crowded] > threshold[crowded]
        ties ^= above
        room = count - _count(above)
        kind = torch.int16 if values.shape[-1] < 2**15 else torch.int32
        ties &= ties.cumsum(-1, dtype=kind) <= room[:, None]
        selected[crowded] = above | ties
    return selected


def _sorted(values: Tensor) -> Tensor:
    """Rows in ascending order. NumPy sorts with vector instructions: ten times faster than torch on a CPU."""
    if values.device.type != "cpu" or values.dtype not in (torch.float32, torch.float64):
        return values.sort(-1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=-1))


def _count(mask: Tensor) -> Tensor:
    return mask.view(torch.uint8).sum(-1, dtype=torch.int32)
