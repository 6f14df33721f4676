"""Threads: a run computes on one thread, wherever it runs, so that the same seed gives the same bytes.

The bits of a matrix product depend on how many threads share it. Fits, approach and chains therefore take one thread
each, whatever `torch.set_num_threads` says; several chains take several processes. A single chain that is alone on many
cores would be faster with more of them, and have other draws on every machine: run several chains instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread while the block runs, and put the number back.

    >>> before = torch.get_num_threads()
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
