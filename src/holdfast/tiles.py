"""Tiles: how work over draws x images is cut, so that memory is bounded and the answer never depends on the cut.

The bits of a matrix product depend on its shape. So the piece that is computed in one go, the *tile*, is fixed by the
network and the input alone: `draws` draws times `images` images whose activations fill about `TILE` bytes. A memory
budget decides how many tiles are kept alive at once, never what a tile is; the same seed gives the same bytes under
every budget of at least eight tiles (512 MiB; LRP works in pieces of up to eight). A budget below that makes the pieces
smaller, and then the last bits may differ.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

TILE = 1 << 26  # 64 MiB: fast for small and large networks alike, see benchmarks/relevance.py
MEMORY = 1 << 30  # default budget of a call, in bytes


@dataclass(frozen=True)
class Tile:
    """One piece of the work: these draws on these images."""

    draws: slice
    images: slice


class _Sizes(TorchFunctionMode):
    """Adds up the bytes of every tensor that a forward pass makes."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point():
            self.total += out.numel() * out.element_size()
        return out


def activation_bytes(forward: Callable[[Tensor], Tensor], image: Tensor) -> int:
    """Bytes of all tensors made by `forward` on one image `[1, ...]`: what one (draw, image) pair costs."""
    with torch.no_grad(), _Sizes() as sizes:
        forward(image)
    return max(1, sizes.total + image.numel() * image.element_size())


def tile_shape(pair_bytes: int, draws: int, images: int, memory: int = MEMORY) -> tuple[int, int]:
    """(draws, images) of one tile: images first, in powers of two or all of them, then as many draws as fit.

    >>> tile_shape(pair_bytes=10_000, draws=100, images=500)
    (13, 500)
    >>> tile_shape(pair_bytes=2_000_000, draws=100, images=500)
    (1, 32)
    """
    pairs = max(1, min(TILE, memory) // pair_bytes)
    b = images if images <= pairs else 1 << (pairs.bit_length() - 1)
    return max(1, min(draws, pairs // b)), b


def tiles(pair_bytes: int, draws: int, images: int, memory: int = MEMORY) -> Iterator[list[Tile]]:
    """Yield, image block by image block, the tiles of all draws on that block."""
    s, b = tile_shape(pair_bytes, draws, images, memory)
    for start in range(0, images, b):
        block = slice(start, min(start + b, images))
        yield [Tile(slice(i, min(i + s, draws)), block) for i in range(0, draws, s)]
