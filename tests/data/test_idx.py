"""IDX files: headers, sizes, arbitrary bytes."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.data import DataError
from holdfast.data.idx import parse_idx, write_idx


@given(st.integers(0, 5), st.integers(1, 4), st.integers(1, 4), st.randoms(use_true_random=False))
def test_what_struct_writes_is_read(count, rows, columns, random):
    values = [random.randrange(256) for _ in range(count * rows * columns)]
    content = struct.pack(">HBBIII", 0, 8, 3, count, rows, columns) + bytes(values)
    images = parse_idx(content, "images", 3)
    assert images.shape == (count, rows, columns)
    assert images.flatten().tolist() == values
    assert write_idx(images) == content


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", r"labels: not an IDX file of 1 dimension: it starts with nothing \(0 bytes\), expected 00 00 08 01"),
        (bytes([0, 0, 8, 3]) + bytes(12), "not an IDX file of 1 dimension: it starts with 00 00 08 03"),
        (bytes([0, 0, 13, 1, 0, 0, 0, 1]), "starts with 00 00 0d 01"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 3, 1, 2]), "announces 3 = 3 values, but 2 bytes follow"),
        (bytes([0, 0, 8, 1, 0, 0, 0, 1, 1, 2]), "announces 1 = 1 values, but 2 bytes follow"),
        (bytes([0, 0, 8, 1, 255, 255, 255, 255]), "announces 4294967295 = 4,294,967,295 values, but 0 bytes"),
    ],
)
def test_a_wrong_header_or_size_is_named(content, fault):
    with pytest.raises(DataError, match=fault):
        parse_idx(content, "labels", 1)


def test_only_bytes_are_written():
    with pytest.raises(ValueError, match="unsigned bytes"):
        write_idx(np.zeros(3, np.int64))
