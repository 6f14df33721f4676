"""placed: pieces of clothing on clutter, with the exact pixels of each, so that the right explanation is known.

Images of 56 x 56 grey pixels. On a background of noise and small fragments of all ten classes of Fashion-MNIST lie one
or two whole items of five classes, which do not overlap. The label is the class of the brighter item; where there are
two, the second has another class and half the brightness of the first. So for every image it is known which pixels
make the label (`masks`, `boxes`) and what the label becomes when an item is taken away (`removed`, `second_labels`).

    image = where(second mask, b/2 second item, where(mask, b item, background)),      b in [0.75, 1]

A single item has b in [0.4, 1], so that brightness alone says nothing. A pixel belongs to an item where its value in
Fashion-MNIST is above 25 of 255; the item is first scaled to a mean of 0.6 over these, and clipped at 1. Made from
`fashion-mini`: the training images from its training items, the test images from its test items.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from holdfast.data.dataset import Dataset, Split
from holdfast.progress import track

SIDE = 56
CLASSES = {1: "trouser", 2: "pullover", 5: "sandal", 8: "bag", 9: "ankle boot"}  # label in Fashion-MNIST -> name
VISIBLE = 25 / 255
MEAN = 0.6  # of the visible pixels at full brightness
DIM = 0.5  # brightness of the second item in parts of the first
FRAGMENTS, FRAGMENT = 14, 9  # how many, and pixels a side
NOISE = 0.1


@dataclass(frozen=True, eq=False)
class PlacedSplit(Split):
    """Images with what lies on them. `labels` and `boxes` are those of the brighter item.

    Attributes:
        masks: bool `[N, H, W]`, the pixels of the brighter item.
        second_labels: int64 `[N]`, class of the second item; -1 where there is none.
        second_boxes: int64 `[N, 4]`; zeros where there is none.
        second_masks: bool `[N, H, W]`; empty where there is none.
        backgrounds: float32 `[N, 1, H, W]`, the images without any item.
    """

    masks: Tensor | None = None
    second_labels: Tensor | None = None
    second_boxes: Tensor | None = None
    second_masks: Tensor | None = None
    backgrounds: Tensor | None = None

    def __getitem__(self, rows: slice | Tensor | Sequence[int]) -> "PlacedSplit":
        """Some of the images."""
        return PlacedSplit(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def removed(self, which: Literal["first", "second"]) -> Tensor:
        """The images `[N, 1, H, W]` without the brighter item ("first") or without the second one."""
        if which not in ("first", "second"):
            raise ValueError(f"PlacedSplit.removed: which must be 'first' or 'second', got {which!r}.")
        mask = self.masks if which == "first" else self.second_masks
        return torch.where(mask[:, None], self.backgrounds, self.images)


def placed(source: Dataset, *, train: int = 4000, test: int = 1000, two: float = 0.5, seed: int = 0) -> Dataset:
    """Place items of Fashion-MNIST on clutter.

    Args:
        source: `load("fashion-mini")`, or the whole of Fashion-MNIST.
        train, test: numbers of images.
        two: share of the images with two items.
        seed: of everything that is drawn.

    Returns:
        A data set whose splits are `PlacedSplit`s.

    >>> from holdfast.data import load
    >>> data = load("placed", train=20, test=10)
    >>> data.test.images.shape, data.test.masks.shape, data.classes[4]
    (torch.Size([10, 1, 56, 56]), torch.Size([10, 56, 56]), 'ankle boot')
    """
    for name, count in (("train", train), ("test", test)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"placed: {name} must be a whole number of at least 1, got {count!r}.")
    if not 0 <= two <= 1:
        raise ValueError(f"placed: two must lie in [0, 1], got {two!r}.")
    if source.shape != (1, 28, 28) or len(source.classes) != 10:
        raise ValueError(f"placed: the source must be Fashion-MNIST or fashion-mini, got {source.name!r}.")
    splits = [
        _make(items, count, two, np.random.default_rng([seed, part]))
        for part, (items, count) in enumerate(((source.train, train), (source.test, test)))
    ]
    digest = hashlib.sha256(repr((source.checksum, train, test, two, seed)).encode())
    for split in splits:
        digest.update(split.images.numpy().tobytes())
    return Dataset("placed", splits[0], splits[1], tuple(CLASSES.values()), digest.hexdigest())


def _make(items: Split, count: int, two: float, random: np.random.Generator) -> PlacedSplit:
    pixels, labels = items.images[:, 0].numpy(), items.labels.numpy()
    pools = [np.flatnonzero(labels == original) for original in CLASSES]
    pairs = np.arange(count) < round(two * count)
    random.shuffle(pairs)
    classes = random.integers(0, len(CLASSES), (count, 2))
    classes[:, 1] = (classes[:, 0] + 1 + classes[:, 1] % (len(CLASSES) - 1)) % len(CLASSES)
    backgrounds = np.zeros((count, SIDE, SIDE), np.float32)
    images, masks = backgrounds.copy(), np.zeros((count, 2, SIDE, SIDE), bool)
    boxes = np.zeros((count, 2, 4), np.int64)
    for n in track(range(count), "placing items"):
        backgrounds[n] = _clutter(pixels, random)
        images[n] = backgrounds[n]
        chosen = [_cut(pixels[random.choice(pools[c])]) for c in classes[n, : 1 + pairs[n]]]
        brightness = random.uniform(0.75, 1) if pairs[n] else random.uniform(0.4, 1)
        for k, (item, (top, left)) in enumerate(zip(chosen, _places(chosen, random), strict=True)):
            height, width = item.shape
            area = np.s_[top : top + height, left : left + width]
            seen = item > VISIBLE
            bright = np.minimum(item * MEAN / item[seen].mean(), 1)
            masks[n, k][area] = seen
            images[n][area] = np.where(seen, brightness * DIM**k * bright, images[n][area])
            boxes[n, k] = left, top, left + width - 1, top + height - 1
    whole = lambda values: torch.from_numpy((np.rint(values * 255) / 255).astype(np.float32))[:, None]
    second = np.where(pairs, classes[:, 1], -1)
    numbers = (torch.from_numpy(v) for v in (classes[:, 0].copy(), boxes[:, 0], masks[:, 0], second, boxes[:, 1]))
    return PlacedSplit(whole(images), *numbers, torch.from_numpy(masks[:, 1]), whole(backgrounds))


def _clutter(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noise, and fragments too small to tell the class."""
    background = random.uniform(0, NOISE, (SIDE, SIDE)).astype(np.float32)
    places = random.integers(0, SIDE - FRAGMENT + 1, (FRAGMENTS, 2))
    corners = random.integers(0, pixels.shape[1] - FRAGMENT + 1, (FRAGMENTS, 2))
    rows, brightness = random.integers(0, len(pixels), FRAGMENTS), random.uniform(0.2, 0.5, FRAGMENTS)
    for (y, x), (v, u), row, bright in zip(places, corners, rows, brightness, strict=True):
        area = background[y : y + FRAGMENT, x : x + FRAGMENT]
        np.maximum(area, bright * pixels[row, v : v + FRAGMENT, u : u + FRAGMENT], out=area)
    return background


def _cut(item: np.ndarray) -> np.ndarray:
    """The item within its tight box."""
    seen = item > VISIBLE
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return item[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _places(items: list[np.ndarray], random: np.random.Generator) -> list[tuple[int, int]]:
    """Top and left of every item: anywhere; two of them side by side, or one above the other, in either order."""
    if len(items) == 1:
        return [tuple(int(random.integers(0, SIDE - size + 1)) for size in items[0].shape)]
    axis, order = int(random.integers(2)), random.permutation(2)
    free = SIDE - sum(item.shape[axis] for item in items)
    gaps = np.sort(random.integers(0, free + 1, 2))
    places, position = [None, None], 0
    for k, gap in zip(order, (gaps[0], gaps[1] - gaps[0]), strict=True):
        along = position + int(gap)
        across = int(random.integers(0, SIDE - items[k].shape[1 - axis] + 1))
        places[k] = (along, across) if axis == 0 else (across, along)
        position = along + items[k].shape[axis]
    return places
