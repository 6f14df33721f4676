"""Spearman against scipy, with ties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from holdfast.scores import spearman
from holdfast.scores.spearman import average_ranks


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    pixels=st.integers(2, 60),
    levels=st.sampled_from([2, 5, 10_000]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_equals_scipy(seed, pixels, levels, dtype):
    a, b = torch.randint(-levels, levels, (2, 3, pixels), generator=torch.Generator().manual_seed(seed)).to(dtype)
    a[:, 0], a[:, 1] = -levels - 1, levels + 1  # never constant
    b[:, 0], b[:, 1] = levels + 1, -levels - 1
    for name, first, second in (("signed", a, b), ("absolute", a.abs(), b.abs())):
        found = spearman(a, b, variant=name)
        assert found.dtype == dtype
        for row in range(3):
            if len(first[row].unique()) > 1 and len(second[row].unique()) > 1:
                expected = stats.spearmanr(first[row].numpy(), second[row].numpy()).statistic
                assert found[row].item() == pytest.approx(expected, abs=1e-12 if dtype == torch.float64 else 1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 50), levels=st.integers(1, 20))
def test_average_ranks_equal_scipy(seed, n, levels):
    values = torch.randint(0, levels, (4, n), generator=torch.Generator().manual_seed(seed)).float()
    assert average_ranks(values).tolist() == stats.rankdata(values.numpy(), axis=1).tolist()


def test_any_growing_change_keeps_the_order():
    maps = torch.randn(3, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    assert spearman(maps, maps.exp()).tolist() == [1.0] * 3
    assert spearman(maps, -maps).tolist() == [-1.0] * 3


def test_constant_maps():
    flat, other = torch.full((1, 4), 3.0), torch.tensor([[1.0, 2, 3, 4]])
    assert (spearman(flat, other).item(), spearman(flat, flat).item()) == (0.0, 1.0)


def test_leading_axes_and_memory_change_nothing():
    a, b = torch.randn(2, 2, 3, 5, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    whole = spearman(a, b)
    assert whole.shape == (2, 3, 5)
    assert torch.equal(whole, spearman(a, b, memory=1))
    assert torch.equal(whole[1, 2, 3, None], spearman(a[1, 2, 3, None], b[1, 2, 3, None]))


def test_unknown_variant():
    with pytest.raises(ValueError, match="variant must be 'signed' or 'absolute', got 'both'"):
        spearman(torch.rand(2, 4), torch.rand(2, 4), variant="both")
