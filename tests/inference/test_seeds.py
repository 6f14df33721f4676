"""Streams: independent for each purpose, the same for the same seed."""

import pytest
import torch

from holdfast.inference.seeds import member_seeds, stream, stream_seed


def test_streams_differ_by_purpose_and_by_seed():
    seeds = {stream_seed(s, p, i) for s in range(20) for p in ("order", "draws") for i in range(20)}
    assert len(seeds) == 800
    assert len({s % 2**32 for s in seeds}) == 800  # the CPU generator reads 32 bits
    assert torch.equal(torch.rand(3, generator=stream(1, "a")), torch.rand(3, generator=stream(1, "a")))


def test_neighbouring_ensembles_share_no_member():
    assert not set(member_seeds(0, 50)) & set(member_seeds(1, 50))
    assert member_seeds(0, 3) == member_seeds(0, 5)[:3]


def test_a_seed_is_a_whole_number():
    with pytest.raises(TypeError, match=r"seed must be a whole number, got 0\.5"):
        stream(0.5)
