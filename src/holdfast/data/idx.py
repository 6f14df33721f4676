"""IDX, the format of MNIST: two zero bytes, the type, the number of dimensions, the dimensions, the values.

    00 00 08 03  00 00 EA 60  00 00 00 1C  00 00 00 1C  pixels …     (60,000 images of 28 x 28, unsigned bytes)
    00 00 08 01  00 00 EA 60  labels …

Sizes are 32-bit, most significant byte first. LeCun, Cortes, Burges, "The MNIST database", 1998. Only unsigned bytes
are read: no file of these data sets holds anything else.
"""

import math

import numpy as np

from holdfast.data.errors import DataError

UNSIGNED_BYTE = 0x08


def parse_idx(content: bytes, where: str, dimensions: int) -> np.ndarray:
    """The array that an uncompressed IDX file holds, as a read-only view of `content`.

    Args:
        content: the whole file.
        where: its name, for messages.
        dimensions: how many it must have: 3 for images, 1 for labels.

    Raises:
        DataError: the header is not that of unsigned bytes in so many dimensions, or the size does not fit it.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 4]), "labels", 1)
    array([7, 0, 4], dtype=uint8)
    """
    start = 4 + 4 * dimensions
    expected = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if len(content) < start or content[:4] != expected:
        raise DataError(
            f"{where}: not an IDX file of {dimensions} dimension{'s' if dimensions > 1 else ''}: it starts with "
            f"{bytes(content[:4]).hex(' ') or 'nothing'} ({len(content):,} bytes), expected {expected.hex(' ')}."
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dimensions, offset=4))
    if len(content) != start + math.prod(shape):
        raise DataError(
            f"{where}: the IDX header announces {' x '.join(map(str, shape))} = {math.prod(shape):,} values, "
            f"but {len(content) - start:,} bytes follow it."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def write_idx(values: np.ndarray) -> bytes:
    """The IDX file of an array of unsigned bytes.

    >>> write_idx(np.array([7, 0, 4], np.uint8)).hex(" ")
    '00 00 08 01 00 00 00 03 07 00 04'
    """
    if values.dtype != np.uint8 or not 1 <= values.ndim <= 255:
        raise ValueError(f"write_idx: expected unsigned bytes in 1 to 255 dimensions, got {values.dtype}.")
    header = bytes([0, 0, UNSIGNED_BYTE, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return header + np.ascontiguousarray(values).tobytes()
