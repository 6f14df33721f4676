"""CIFAR-10 records."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data import DataError
from holdfast.data.cifar import certain_checksum, parse_cifar


def records(count, seed=0):
    random = np.random.default_rng(seed)
    return b"".join(
        bytes([int(random.integers(10))]) + random.integers(256, size=3072, dtype=np.uint8).tobytes()
        for _ in range(count)
    )


def test_every_byte_lands_where_the_format_says():
    content = records(3)
    images, labels = parse_cifar(content, "batch")
    for n in range(3):
        assert labels[n] == content[3073 * n]
        for channel, row, column in [(0, 0, 0), (0, 0, 31), (0, 1, 0), (1, 0, 0), (2, 31, 31), (1, 17, 5)]:
            assert images[n, channel, row, column] == content[3073 * n + 1 + 1024 * channel + 32 * row + column]


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_a_wrong_size_is_named(size):
    with pytest.raises(DataError, match=f"batch: {size:,} bytes are no whole number of CIFAR-10 records"):
        parse_cifar(bytes(size), "batch")


def test_a_wrong_label_is_named():
    content = bytearray(records(3))
    content[2 * 3073] = 10
    with pytest.raises(DataError, match="batch: record 2 has the label 10, expected 0 to 9"):
        parse_cifar(bytes(content), "batch")


@given(st.integers(1, 5), st.sets(st.integers(0, 4)))
def test_uncertain_records_do_not_count(count, uncertain):
    content = records(count)
    numbers = tuple(n for n in uncertain if n < count)
    kept = b"".join(content[3073 * n : 3073 * (n + 1)] for n in range(count) if n not in numbers)
    assert certain_checksum(content, numbers) == hashlib.sha256(kept).hexdigest()
