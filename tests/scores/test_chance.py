"""Chance level: partners, the level itself on maps with a known answer, the correction."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.scores import chance_corrected, chance_level, cosine, k_lrp, softmax_robustness, spearman
from holdfast.scores.chance import other_images


@settings(max_examples=50, deadline=None)
@given(count=st.integers(2, 200), seed=st.integers(0, 10_000))
def test_every_image_meets_another_and_each_is_met_once(count, seed):
    partners = other_images(count, seed)
    assert sorted(partners.tolist()) == list(range(count))
    assert not bool((partners == torch.arange(count)).any())
    assert torch.equal(partners, other_images(count, seed))


def test_every_partner_is_as_likely():
    counts = torch.zeros(5, 5)
    for seed in range(2000):
        counts[torch.arange(5), other_images(5, seed)] += 1
    share = counts / 2000
    assert bool((share.diagonal() == 0).all())
    off = share[~torch.eye(5, dtype=torch.bool)]
    assert float((off - 0.25).abs().max()) < 5 * (0.25 * 0.75 / 2000) ** 0.5


def test_is_the_score_of_the_partners_map():
    clean, attacked = torch.randn(2, 3, 6, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    found = chance_level(k_lrp, clean, attacked, seed=4, k=20, variant="signed")
    partners = other_images(6, 4)
    assert found.shape == (3, 6)
    for s in range(3):
        for i in range(6):
            pair = clean[s, i, None], attacked[s, partners[i], None]
            assert found[s, i] == k_lrp(*pair, k=20, variant="signed")[0]


def test_independent_maps_share_k_percent():
    maps = torch.randn(400, 1, 20, 20, generator=torch.Generator().manual_seed(1))
    level = chance_level(k_lrp, maps, maps, k=20)
    assert abs(level.mean().item() - 0.20) < 0.005  # hypergeometric: sd of one value 0.04
    for score in (spearman, cosine):
        assert abs(chance_level(score, maps, maps).mean().item()) < 0.01


def test_works_without_pixels_and_with_stated_axes():
    maps = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(2))
    stacked = chance_level(cosine, maps, maps, seed=3, image_axes=1)
    assert torch.equal(stacked[1], chance_level(cosine, maps[1], maps[1], seed=3))
    with pytest.raises(ValueError, match="pass image_axes="):
        chance_level(cosine, maps, maps)


def test_correction_sends_chance_to_zero_and_equal_maps_to_one():
    clean, attacked = torch.randn(2, 2, 50, 1, 8, 8, generator=torch.Generator().manual_seed(3)).abs()
    level = chance_level(cosine, clean, attacked)
    torch.testing.assert_close(chance_corrected(level, level).mean(-1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(chance_corrected(cosine(clean, clean), level), torch.ones(2, 50))


def test_correction_is_undefined_where_all_maps_are_alike():
    values = torch.tensor([[1.0, 1.0], [0.5, 0.7]])
    level = torch.tensor([[1.0, 1.0], [0.2, 0.4]])
    found = chance_corrected(values, level)
    assert bool(found[0].isnan().all())
    torch.testing.assert_close(found[1], torch.tensor([0.2 / 0.7, 0.4 / 0.7]))


def test_refuses():
    maps = torch.rand(1, 1, 4, 4)
    with pytest.raises(ValueError, match="needs at least two images, got 1"):
        chance_level(cosine, maps, maps)
    with pytest.raises(ValueError, match="softmax_robustness does not compare maps"):
        chance_level(softmax_robustness, maps, maps)
    with pytest.raises(ValueError, match=r"one shape \[..., B\], got \(3,\) and \(2,\)"):
        chance_corrected(torch.rand(3), torch.rand(2))
