"""Progress bars that appear only where a person waits: after two seconds, on a terminal."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over `items`; where that takes longer than two seconds on a terminal, show a bar.

    Args:
        items: what to iterate over.
        description: what is being done, in a few words ("training fc2").
        total: how many items there are, where `len(items)` cannot tell.

    >>> list(track([1, 2, 3], "counting"))
    [1, 2, 3]
    """
    yield from tqdm(items, desc=description, total=total, delay=2, leave=False, disable=None)
