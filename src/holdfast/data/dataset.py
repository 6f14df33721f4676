"""Dataset: images in [0, 1] with labels, split into training and test images."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Attributes:
        images: float32 `[N, C, H, W]` in [0, 1] (`[N, F]` for data without pixels).
        labels: int64 `[N]`.
        boxes: int64 `[N, 4]` as x0, y0, x1, y1 in pixels, both ends included, where the data have boxes.
    """

    images: Tensor
    labels: Tensor
    boxes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def degenerate(self) -> Tensor | None:
        """bool `[N]`: the box has zero width or height in the source (x1 <= x0 or y1 <= y0); None without boxes."""
        if self.boxes is None:
            return None
        return (self.boxes[:, 2:] <= self.boxes[:, :2]).any(1)

    def __getitem__(self, rows: slice | Tensor | Sequence[int]) -> "Split":
        """Some of the images."""
        boxes = None if self.boxes is None else self.boxes[rows]
        return Split(self.images[rows], self.labels[rows], boxes)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set.

    Attributes:
        name: what `load` was asked for.
        train, test: the two splits, in the official order.
        classes: class names in label order.
        checksum: sha256 over the files, or over the settings of generated data: changes when any image does.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    checksum: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(self.train.images.shape[1:])
