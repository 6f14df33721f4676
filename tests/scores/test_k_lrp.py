"""k-LRP against a slow rewrite with sets, the published selection, and its properties."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.scores import k_lrp
from holdfast.scores.k_lrp import selected_pixels


def selection(values, k, variant, order):
    """Selected pixels as a set, from a plain sort of (value, place in the tie order)."""
    n = len(values)
    if variant == "absolute":
        ranked = sorted(range(n), key=lambda i: (-abs(values[i]), order[i]))
        return set(ranked[: int(n * k / 100 + 1e-9)])
    half = int(n * (k / 2) / 100)
    ranked = sorted(range(n), key=lambda i: (-values[i], order[i]))
    return set(ranked[:half]) | set(ranked[n - half :])


def slow(clean, attacked, k, variant, seed=0):
    """k-LRP of two maps given as lists of numbers, one per pixel."""
    places = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed)).tolist()
    order = {pixel: place for place, pixel in enumerate(places)}
    a, b = (selection(m, k, variant, order) for m in (clean, attacked))
    return len(a & b) / len(a)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    pixels=st.integers(8, 40),
    k=st.sampled_from([25, 50, 61.5, 99, 100]),
    variant=st.sampled_from(["absolute", "signed"]),
    levels=st.sampled_from([1, 2, 5, 1000]),  # few levels make ties, as black pixels do
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_equals_the_rewrite_with_sets(seed, pixels, k, variant, levels, dtype):
    draw = random.Random(seed)
    maps = [[[draw.randint(-levels, levels) / 8 for _ in range(pixels)] for _ in range(3)] for _ in range(2)]
    clean, attacked = (torch.tensor(m, dtype=dtype) for m in maps)
    found = k_lrp(clean, attacked, k=k, variant=variant, seed=seed)
    values = [slow(a, b, k, variant, seed) for a, b in zip(clean.tolist(), attacked.tolist(), strict=True)]
    assert found.dtype == dtype
    torch.testing.assert_close(found, torch.tensor(values, dtype=dtype), rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.floats(10, 100), variant=st.sampled_from(["absolute", "signed"]))
def test_symmetric_bounded_one_for_equal_maps_and_blind_to_scale(seed, k, variant):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, 5, 1, 6, 6, generator=generator)
    a[:, :, :3] = 0
    score = k_lrp(a, b, k=k, variant=variant)
    assert bool(((score >= 0) & (score <= 1)).all())
    assert torch.equal(score, k_lrp(b, a, k=k, variant=variant))
    assert torch.equal(score, k_lrp(7 * a, b / 3, k=k, variant=variant))
    assert bool((k_lrp(a, a, k=k, variant=variant) == 1).all())


def test_all_pixels_are_always_kept():
    a, b = torch.randn(2, 4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    assert k_lrp(a, b, k=100).tolist() == [1.0] * 4
    assert k_lrp(a, b, k=100, variant="signed").tolist() == [1.0] * 4


@pytest.mark.parametrize(("k", "count"), [(20, 156), (30, 234), (60, 470), (100, 784)])
def test_the_papers_pixel_counts(k, count):
    assert selected_pixels(784, k, "signed") == count
    assert selected_pixels(784, k) == int(784 * k / 100)


def test_the_definitions_part_where_most_relevance_is_positive():
    clean = torch.tensor([[9.0, 8, 7, 6, 1, 0, -0.1, -0.2]])
    attacked = torch.tensor([[9.0, 8, 7, 6, 1, 0, -0.2, -0.1]])
    attacked[0, 2:4] = 0.5
    assert k_lrp(clean, attacked, k=50).item() == 0.75  # 0 1 2 3 against 0 1 4 and one of the ties 2, 3
    assert k_lrp(clean, attacked, k=50, variant="signed").item() == 1.0  # 0 1 6 7 both times


def test_all_zero_maps_choose_no_corner():
    zero = torch.zeros(1, 1, 28, 28)
    corner = torch.zeros(1, 1, 28, 28)
    corner[..., :14, :14] = 1  # a quarter of the pixels
    shares = [k_lrp(zero, corner, k=25, seed=seed).item() for seed in range(40)]
    assert len(set(shares)) > 10
    assert abs(sum(shares) / 40 - 0.25) < 0.02  # what a random choice of a quarter of the pixels shares with the corner


def test_leading_axes_and_memory_change_nothing():
    a, b = torch.randn(2, 2, 3, 5, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = k_lrp(a, b, k=20)
    assert whole.shape == (2, 3, 5)
    one_by_one = [k_lrp(a[i, j, n, None], b[i, j, n, None], k=20) for i in range(2) for j in range(3) for n in range(5)]
    assert torch.equal(whole.flatten(), torch.cat(one_by_one))
    assert torch.equal(whole, k_lrp(a, b, k=20, memory=1))


def test_channels_are_summed_unless_told_otherwise():
    a, b = torch.randn(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    assert torch.equal(k_lrp(a, b, k=20), k_lrp(a.sum(1), b.sum(1), k=20, image_axes=2))
    assert torch.equal(k_lrp(a, b, k=20, channels="separate"), k_lrp(a.flatten(1), b.flatten(1), k=20))


def test_maps_with_gradients_stay_as_they_are():
    a = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(3)).requires_grad_()
    before = a.detach().clone()
    score = k_lrp(a, a.detach().flip(-1), k=30)
    assert not score.requires_grad
    assert torch.equal(a.detach(), before)


@pytest.mark.parametrize("k", [0, -5, 100.5, float("nan")])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=r"k_lrp: k must lie in \(0, 100\], got"):
        k_lrp(torch.rand(2, 4), torch.rand(2, 4), k=k)


def test_k_below_one_pixel():
    with pytest.raises(ValueError, match="k=10 percent of 4 pixels is less than one pixel; use a larger k"):
        k_lrp(torch.rand(2, 4), torch.rand(2, 4), k=10)
    with pytest.raises(ValueError, match="k=30 percent of 4 pixels is less than two pixels"):
        k_lrp(torch.rand(2, 4), torch.rand(2, 4), k=30, variant="signed")


def test_unknown_settings():
    with pytest.raises(ValueError, match="variant must be 'absolute' or 'signed', got 'top'"):
        k_lrp(torch.rand(2, 4), torch.rand(2, 4), k=50, variant="top")
    with pytest.raises(ValueError, match="channels must be 'sum' or 'separate', got 'max'"):
        k_lrp(torch.rand(2, 4), torch.rand(2, 4), k=50, channels="max")
