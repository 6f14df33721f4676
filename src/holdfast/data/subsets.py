"""Balanced subsets: the same number of images of every class, drawn without replacement."""

import torch

from holdfast.checks import check_range
from holdfast.data.dataset import Split


def balanced_subset(split: Split, count: int, seed: int) -> Split:
    """Draw `count` different images, as many of each class as of any other.

    Where `count` is no multiple of the number of classes, some classes, drawn by the seed, have one image more. With
    one seed, a smaller subset is part of every larger one. The images keep the order they have in `split`.

    Args:
        split: where to draw from; its classes are the labels that occur in it.
        count: how many images.
        seed: of the draw.

    Raises:
        ValueError: a class has too few images, or `count` is below 1.

    >>> split = Split(torch.rand(100, 1, 2, 2), torch.arange(100) % 10)
    >>> balanced_subset(split, 20, seed=0).labels.bincount().tolist()
    [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"balanced_subset: count must be a whole number, got {count!r}.")
    if len(split) == 0:
        raise ValueError("balanced_subset: the split has no images.")
    check_range("balanced_subset", "count", count, 1, len(split))

    labels = split.labels.cpu()
    names, classes, available = labels.unique(return_inverse=True, return_counts=True)
    generator = torch.Generator().manual_seed(seed)
    places = torch.randperm(len(names), generator=generator)  # who is first to have one image more
    draws = torch.rand(len(labels), dtype=torch.float64, generator=generator)

    wanted = count // len(names) + (places < count % len(names)).long()
    if bool((wanted > available).any()):
        short = int((wanted > available).int().argmax())
        raise ValueError(
            f"balanced_subset: {count} images of {len(names)} classes need {int(wanted[short])} of class "
            f"{int(names[short])}, which has {int(available[short])}; "
            f"ask for at most {len(names) * int(available.min())}."
        )
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for c in range(len(names)):
        rows = (classes == c).nonzero().flatten()
        chosen[rows[draws[rows].argsort(stable=True)[: int(wanted[c])]]] = True
    return split[chosen.nonzero().flatten().to(split.labels.device)]
