"""Precision of the gradients: bfloat16 where the processor has units for it, TF32 on GPUs, float32 elsewhere.

Energies never depend on this choice, only how well a trajectory keeps its energy.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["auto", "float32", "tf32", "bfloat16"]


def choose(call: str, precision: Precision, device: torch.device, dtype: torch.dtype) -> str:
    """The precision that "auto" stands for on this device; float64 data keep float64 gradients.

    >>> choose("call", "auto", torch.device("cpu"), torch.float64)
    'float64'
    """
    if precision not in ("auto", "float32", "tf32", "bfloat16"):
        raise ValueError(f"{call}: precision must be 'auto', 'float32', 'tf32' or 'bfloat16', got {precision!r}.")
    if precision == "tf32" and device.type != "cuda":
        raise ValueError(
            f"{call}: precision='tf32' is for products on an NVIDIA GPU, the images are on {device}; use 'auto' or "
            "'bfloat16', or move the images to the GPU."
        )
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{call}: images must be float32 or float64, got {dtype}: weights and energies are in the type of the "
            "images and need its digits; pass images.float() or images.double(), precision= is that of the gradients."
        )
    if dtype == torch.float64 and precision in ("tf32", "bfloat16"):
        raise ValueError(
            f"{call}: precision={precision!r} is for float32 images, got float64, whose gradients keep their digits; "
            "use 'auto', or pass images.float()."
        )
    if dtype == torch.float64:
        return "float64"
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "tf32"
    return "bfloat16" if device.type == "cpu" and _multiplies_bfloat16() else "float32"


def _multiplies_bfloat16() -> bool:
    """Whether the processor has units for it: AMX, or those of AVX-512, with which a gradient takes half the time."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Allow TF32 inside float32 products on a GPU while the block runs, and put the setting back.

    Numbers below the smallest normal one (1e-38 in float32) count as zero meanwhile on this thread of the CPU: where a
    softmax saturates, much of a gradient is of that size, which made the chains as released 2.4 times slower.
    """
    knob = torch.backends.cuda.matmul
    before, flushed = knob.fp32_precision, _are_subnormals_zero()
    try:
        torch.set_flush_denormal(True)
        if precision == "tf32":
            knob.fp32_precision = "tf32"
        yield
    finally:
        torch.set_flush_denormal(flushed)
        knob.fp32_precision = before


def _are_subnormals_zero() -> bool:
    """Whether this thread counts them as zero already: torch has no way to ask."""
    return sys.float_info.min / 2 == 0.0
