"""CIFAR-10, binary version: records of one label byte and 32 x 32 red, green and blue bytes, row by row.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. A batch is 10,000 records of 3,073 bytes.
"""

import hashlib

import numpy as np

from holdfast.data.errors import DataError

RECORD = 1 + 3 * 32 * 32
CLASSES = 10


def parse_cifar(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `[N, 3, 32, 32]` and labels `[N]` of one batch, as read-only views of `content`.

    Args:
        content: the whole uncompressed file.
        where: its name, for messages.

    Raises:
        DataError: the size is no positive multiple of 3,073, or a label is above 9.

    >>> images, labels = parse_cifar(bytes([3]) + bytes(3072), "one record")
    >>> images.shape, labels
    ((1, 3, 32, 32), array([3], dtype=uint8))
    """
    if not content or len(content) % RECORD:
        raise DataError(f"{where}: {len(content):,} bytes are no whole number of CIFAR-10 records of {RECORD:,} bytes.")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0]
    if labels.max() >= CLASSES:
        row = int((labels >= CLASSES).argmax())
        raise DataError(f"{where}: record {row:,} has the label {labels[row]}, expected 0 to {CLASSES - 1}.")
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def certain_checksum(content: bytes, uncertain: tuple[int, ...]) -> str:
    """sha256 over the records of a batch, those of the images numbered in `uncertain` left out."""
    digest = hashlib.sha256()
    start = 0
    for number in (*sorted(uncertain), len(content) // RECORD):
        digest.update(memoryview(content)[start * RECORD : number * RECORD])
        start = number + 1
    return digest.hexdigest()
