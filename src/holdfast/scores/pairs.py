"""Pairs of maps, or of predictions, made ready to be compared: checked, and laid out as rows.

A map holds one value per pixel and channel. Scores compare pixels: the channels of a pixel are summed first. Relevance
is additive, so the sum over its channels is the relevance of the pixel and the total is conserved; it is what LRP
heatmaps of colour images show. `channels="separate"` takes every channel of a pixel for itself, as the published code
did.
"""

from typing import Literal

import torch
from torch import Tensor

Channels = Literal["sum", "separate"]


def map_rows(
    call: str, clean: Tensor, attacked: Tensor, *, channels: Channels, image_axes: int | None
) -> tuple[Tensor, Tensor]:
    """Two stacks of maps `[..., B, *image]` as `[..., B, pixels]`.

    Args:
        call: the score's name, for messages.
        clean, attacked: maps of one shape, finite.
        channels: "sum" adds the channels of `[C, H, W]` (or `[C, W]`, ...) images; "separate" keeps them.
        image_axes: how many trailing axes make one image; None means 3 (`[C, H, W]`), or 1 for maps `[B, F]`.
    """
    _check_maps(call, clean, attacked)
    if channels not in ("sum", "separate"):
        raise ValueError(f"{call}: channels must be 'sum' or 'separate', got {channels!r}.")
    axes = _image_axes(call, clean, image_axes)
    if channels == "sum" and axes == 3:
        one = clean.shape[-3] == 1
        clean, attacked = (m.squeeze(-3) if one else m.sum(-3) for m in (clean, attacked))
        axes = 2
    return clean.flatten(-axes), attacked.flatten(-axes)


def check_predictions(call: str, clean: Tensor, attacked: Tensor) -> None:
    """Two stacks of log predictive probabilities `[..., B, C]` of one shape: they must sum to one over the classes."""
    _check_same(call, clean, attacked, "log predictive probabilities", axes=2)
    for which, log_p in (("clean", clean), ("attacked", attacked)):
        if torch.isnan(log_p).any() or (log_p == torch.inf).any():
            bad = int((torch.isnan(log_p) | (log_p == torch.inf)).sum())
            raise ValueError(f"{call}: {which} predictions hold {bad} NaN or infinite values; repair them first.")
        tolerance = 1e-3 if torch.finfo(log_p.dtype).bits >= 32 else 5e-2
        off = float(log_p.detach().logsumexp(-1).abs().max())
        if not off <= tolerance:
            raise ValueError(
                f"{call}: {which} must hold log probabilities that sum to one over the last axis, they are off by "
                f"{off:.2g} in the log; use Ensemble.log_predictive(x), or log_softmax for logits, or log for "
                "probabilities."
            )


def _check_maps(call: str, clean: Tensor, attacked: Tensor) -> None:
    _check_same(call, clean, attacked, "maps", axes=2)
    for which, maps in (("clean", clean), ("attacked", attacked)):
        if not torch.isfinite(torch.stack(maps.detach().aminmax())).all():  # NaN comes through, and no copy is made
            bad = int((~torch.isfinite(maps)).sum())
            raise ValueError(f"{call}: {which} maps hold {bad} NaN or infinite values; a map must be finite.")


def _check_same(call: str, clean: Tensor, attacked: Tensor, what: str, axes: int) -> None:
    for which, tensor in (("clean", clean), ("attacked", attacked)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"{call}: {which} must be a floating-point torch.Tensor of {what}, got {kind}.")
    if clean.shape != attacked.shape:
        raise ValueError(
            f"{call}: clean and attacked must have one shape, got {tuple(clean.shape)} and {tuple(attacked.shape)}; "
            "use expand(...) to compare one stack with many."
        )
    if clean.ndim < axes or clean.numel() == 0:
        raise ValueError(
            f"{call}: expected {what} of at least one image [..., B, ...], got shape {tuple(clean.shape)}; "
            "use maps[None] for a single image."
        )


def _image_axes(call: str, maps: Tensor, given: int | None) -> int:
    if given is None and maps.ndim == 3:
        raise ValueError(
            f"{call}: maps of shape {tuple(maps.shape)} can be read in two ways; pass image_axes=1 for "
            "[S, B, features] or image_axes=2 for [B, height, width]."
        )
    axes = given if given is not None else (1 if maps.ndim == 2 else 3)
    if isinstance(axes, bool) or not isinstance(axes, int) or not 1 <= axes < maps.ndim:
        raise ValueError(
            f"{call}: image_axes must lie in 1..{maps.ndim - 1} for maps of shape {tuple(maps.shape)}, got {axes!r}."
        )
    return axes
