"""One seed, many independent streams of random numbers.

Initial weights, the order of the images and the noise of a method each draw from a stream of their own, so that
changing one of them leaves the others as they were.
"""

import hashlib

import torch


def stream_seed(seed: int, *purpose: str | int) -> int:
    """The seed of the stream that `seed` gives for a purpose: a hash, so that neighbouring seeds share nothing.

    >>> stream_seed(0, "order") == stream_seed(0, "order"), stream_seed(0, "order") == stream_seed(1, "order")
    (True, False)
    """
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise TypeError(f"seed must be a whole number, got {seed!r}.")
    words = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:7], "big")


def stream(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one purpose, on the device where its numbers are needed."""
    return torch.Generator(device).manual_seed(stream_seed(seed, *purpose))


def member_seeds(seed: int, members: int) -> list[int]:
    """The seed of each member of an ensemble; member i is the network that the i-th of these seeds gives alone."""
    return [stream_seed(seed, "member", i) for i in range(members)]
