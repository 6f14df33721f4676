"""Checks of what a caller hands in: one clear error (what came, what was expected, what to do), before any work.

Each check names the call it guards and returns nothing; it raises `TypeError` for the wrong kind of thing and
`ValueError` for the wrong values.
"""

import torch
from torch import Tensor


def check_images(call: str, images: Tensor, shape: tuple[int, ...] | None = None) -> None:
    """Images must be a floating-point tensor `[B, *shape]` with B >= 1 and every value finite.

    Args:
        call: the name of the function whose argument this is, for the message.
        images: what came.
        shape: the shape of one image, where it is known.
    """
    if not isinstance(images, Tensor):
        raise TypeError(
            f"{call}: images must be a torch.Tensor, got {type(images).__name__}; use torch.as_tensor(...)."
        )
    if not images.is_floating_point():
        raise TypeError(
            f"{call}: images must be floating point, got {images.dtype}; use images.float() / 255 for 8-bit pixels."
        )
    if images.ndim < 2 or len(images) == 0:
        raise ValueError(
            f"{call}: expected a batch of at least one image [B, ...], got shape {tuple(images.shape)}; "
            "use image[None] for a single image."
        )
    if shape is not None and tuple(images.shape[1:]) != tuple(shape):
        raise ValueError(
            f"{call}: expected images of shape [B, {', '.join(map(str, shape))}], got {tuple(images.shape)}."
        )
    if not torch.isfinite(images).all():
        bad = int((~torch.isfinite(images)).sum())
        raise ValueError(f"{call}: images hold {bad} NaN or infinite values; remove or repair those images first.")


def check_labels(call: str, labels: Tensor, count: int, classes: int | None = None) -> None:
    """Labels must be `count` integers, each in `0 .. classes - 1`."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        kind = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(
            f"{call}: labels must be a tensor of integers [B], got {kind}; use labels.argmax(-1) for one-hot."
        )
    if tuple(labels.shape) != (count,):
        raise ValueError(f"{call}: expected {count} labels, one per image, got shape {tuple(labels.shape)}.")
    if classes is not None and count and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise ValueError(
            f"{call}: labels must lie in 0..{classes - 1} for {classes} classes, "
            f"got values from {int(labels.min())} to {int(labels.max())}."
        )


def check_range(call: str, name: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    """A number must lie in `[low, high]`, or in `(low, high]` with `open_low`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{call}: {name} must be a number, got {value!r}.")
    if not (low < value <= high if open_low else low <= value <= high):
        left = "(" if open_low else "["
        raise ValueError(f"{call}: {name} must lie in {left}{low}, {high}], got {value}.")


def check_count(call: str, name: str, value: int, low: int = 1, high: int = 1_000_000_000) -> None:
    """A whole number in `[low, high]`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{call}: {name} must be a whole number, got {value!r}.")
    check_range(call, name, value, low, high)


def check_kind(call: str, name: str, value: object, kind: type) -> None:
    """An argument must be of a class of settings, such as `Training`.

    >>> check_kind("call", "count", "4", int)
    Traceback (most recent call last):
    TypeError: call: count must be an int(...), got '4'.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0].lower() in "aeiou" else "a"
        raise TypeError(f"{call}: {name} must be {article} {kind.__name__}(...), got {value!r:.80}.")


def check_seed(call: str, seed: int) -> None:
    """A seed is a whole number of 64 bits, which may be negative: what `torch.Generator` takes."""
    check_count(call, "seed", seed, -(2**63), 2**63 - 1)


def check_memory(call: str, memory: int) -> None:
    """A budget of memory is a whole number of bytes, at least one."""
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
        kind = ValueError if type(memory) is int else TypeError
        raise kind(f"{call}: memory must be a whole number of bytes, at least 1, got {memory!r}; 1 GiB is 1 << 30.")
