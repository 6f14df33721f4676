"""Checks of what an architecture is asked to be."""


def check_architecture(call: str, shape: tuple[int, ...], classes: int, width: int = 1) -> None:
    """The shape of one image, the number of classes and the width must be positive whole numbers."""
    if not shape or not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in shape):
        raise ValueError(f"{call}: shape must be the shape of one image, such as (1, 28, 28), got {shape!r}.")
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 2:
        raise ValueError(f"{call}: classes must be a whole number of at least 2, got {classes!r}.")
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise ValueError(f"{call}: width must be a whole number of at least 1, got {width!r}.")


def check_image_shape(call: str, shape: tuple[int, ...], smallest: int) -> None:
    """A convolutional network needs images `(channels, height, width)` of at least `smallest` pixels a side."""
    if len(shape) != 3:
        raise ValueError(f"{call}: shape must be (channels, height, width), got {shape!r}; use fc2 for vectors.")
    if min(shape[1:]) < smallest:
        raise ValueError(f"{call}: images need at least {smallest} pixels a side, got {shape[1]} x {shape[2]}.")
