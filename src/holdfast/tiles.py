"""Tiles: how work over draws x images is cut, so that memory is bounded and the answer never depends on the cut.

The bits of a matrix product depend on its shape. So the piece that is computed in one go, the *tile*, is fixed by the
network and the input alone: `draws` draws times `images` images whose activations fill about `TILE` bytes. A memory
budget decides how many tiles are kept alive at once, never what a tile is; the same seed gives the same bytes under
every budget of at least eight tiles (512 MiB; LRP works in pieces of up to eight). A budget below that makes the pieces
smaller, and then the last bits may differ. So they may where a device runs out of memory all the same: a `Walk` then
goes on with halves of the tiles, and says so.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

TILE = 1 << 26  # 64 MiB: fast for small and large networks alike, see benchmarks/relevance.py
MEMORY = 1 << 30  # default budget of a call, in bytes
Found = TypeVar("Found")


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


class OutOfMemory(RuntimeWarning):
    """A device has run out of memory; the work goes on in smaller tiles."""


class Walk:
    """Does work tile by tile, and in halves of tiles once memory has run out; the halves stay for the tiles to come.

    >>> walk, cut = Walk(), tiles(pair_bytes=1 << 22, draws=2, images=40)
    >>> [found for _, found in walk.tiles((t for block in cut for t in block), lambda t: (t.draws, t.images))][:2]
    [(slice(0, 1, None), slice(0, 16, None)), (slice(1, 2, None), slice(0, 16, None))]
    """

    def __init__(self) -> None:
        self._too_many: int | None = None  # draws x images of the smallest tile that did not fit

    def tiles(self, tiles: Iterable[Tile], work: Callable[[Tile], Found]) -> Iterator[tuple[Tile, Found]]:
        """Yield every tile, or the parts of it that fitted, with what `work` made of it."""
        for _, found in self.blocks(([tile] for tile in tiles), lambda block: [(tile, work(tile)) for tile in block]):
            yield from found

    def blocks(
        self, blocks: Iterable[list[Tile]], work: Callable[[list[Tile]], Found]
    ) -> Iterator[tuple[list[Tile], Found]]:
        """The same for work that needs all tiles of the same images at once.

        Raises:
            MemoryError: one draw on one image is too much.
        """
        for block in blocks:
            waiting = [block]
            while waiting:
                block = waiting.pop()
                if self._too_many is None or _size(block) < self._too_many or not _halves(block):
                    try:
                        found = work(block)
                    except (RuntimeError, MemoryError) as error:
                        self._note(block, error)
                    else:
                        yield block, found
                        continue
                _free_cache()  # outside of `except`: until its end the error holds what was allocated
                waiting += reversed(_halves(block))

    def _note(self, block: list[Tile], error: Exception) -> None:
        said = str(error)
        known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not known and "DefaultCPUAllocator" not in said and "out of memory" not in said:
            raise error
        if not _halves(block):
            reason = said.splitlines()[0] if said else type(error).__name__
            raise MemoryError(
                f"out of memory with one draw on one image at a time ({reason}); "
                "hand over fewer draws or images, keep less on the device, or use one with more memory."
            ) from error
        self._too_many = _size(block)
        draws, images = max(_count(t.draws) for t in block), _count(block[0].images)
        warnings.warn(
            f"out of memory with {draws} draws x {images} images at once; going on with half as many.",
            OutOfMemory,
            stacklevel=4,
        )


def _size(block: list[Tile]) -> int:
    return max(_count(tile.draws) for tile in block) * _count(block[0].images)


def _halves(block: list[Tile]) -> list[list[Tile]]:
    """Two blocks of half the images, or one of tiles of half the draws; none where nothing can be halved."""
    images = block[0].images
    if _count(images) > 1:
        return [[Tile(tile.draws, half) for tile in block] for half in _cut(images)]
    if max(_count(tile.draws) for tile in block) > 1:
        return [[Tile(half, images) for tile in block for half in _cut(tile.draws)]]
    return []


def _cut(of: slice) -> list[slice]:
    middle = (of.start + of.stop + 1) // 2
    return [half for half in (slice(of.start, middle), slice(middle, of.stop)) if _count(half)]


def _count(of: slice) -> int:
    return of.stop - of.start


def _free_cache() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
