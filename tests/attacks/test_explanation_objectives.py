"""Objectives on maps: values by hand, derivatives by finite differences."""

import pytest
import torch

from holdfast.attacks import (
    away,
    mass_centre,
    overlap,
    overlap_below,
    target_map,
    target_region,
    top_k,
)
from holdfast.attacks.explanation_objectives import top_pixels
from holdfast.scores import k_lrp


def some_maps(seed=0, count=4):
    return torch.randn(count, 2, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGES = torch.arange(4)


def test_objectives_by_hand():
    maps, clean = some_maps(0), some_maps(1)
    region = some_maps(2)[:, 0] > 0
    goal = some_maps(3)
    found = {
        "top_k": top_k(20)(maps, clean, IMAGES),
        "region": target_region(region)(maps, clean, IMAGES),
        "centre": mass_centre()(maps, clean, IMAGES),
        "map": target_map(goal)(maps, clean, IMAGES),
        "away": away()(maps, clean, IMAGES),
    }
    for i in range(4):
        now, before, aim = (m[i].sum(0).flatten() for m in (maps, clean, goal))
        share, old = now.abs() / now.abs().sum(), before.abs() / before.abs().sum()
        top = before.abs().sort(descending=True).indices[:6]
        centre = lambda w: [sum(float(v) * (i // 6, i % 6)[k] for i, v in enumerate(w)) for k in (0, 1)]
        moved = sum((a - b) ** 2 for a, b in zip(centre(share), centre(old), strict=True)) ** 0.5
        pearson = lambda a, b: float(torch.corrcoef(torch.stack([a, b]))[0, 1])
        assert float(found["top_k"][i]) == pytest.approx(-float(share[top].sum()))
        assert float(found["region"][i]) == pytest.approx(float(share[region[i].flatten()].sum()))
        assert float(found["centre"][i]) == pytest.approx(moved, abs=1e-6)
        assert float(found["map"][i]) == pytest.approx(pearson(now, aim))
        assert float(found["away"][i]) == pytest.approx(-pearson(now, before))


def test_overlap_becomes_the_overlap_when_it_is_sharp():
    maps, clean = some_maps(0), some_maps(1)
    assert int(top_pixels(maps, 30)[0].sum()) == 9
    exact = (top_pixels(maps, 30) & top_pixels(clean, 30)).sum(1) / 9
    torch.testing.assert_close(exact.double(), k_lrp(clean, maps, k=30))
    torch.testing.assert_close(-overlap(30, width=1e-6)(maps, clean, IMAGES), exact.double())
    assert torch.equal(overlap_below(30, 0.5)(maps, clean, IMAGES), exact < 0.5)


@pytest.mark.parametrize("name", ["top_k", "overlap", "region", "centre", "map", "away"])
def test_objectives_by_finite_differences(name):
    clean = some_maps(1)
    objective = {
        "top_k": top_k(20),
        "overlap": overlap(20, width=2.0),
        "region": target_region(some_maps(2)[0, 0] > 0),
        "centre": mass_centre(),
        "map": target_map(some_maps(3)),
        "away": away(),
    }[name]
    if name == "overlap":  # half of the derivative of its threshold and scale
        t, top = some_maps(0).requires_grad_(), top_pixels(clean, 20)
        size = lambda maps: maps.sum(1).flatten(1).abs()
        cut = lambda maps: size(maps).sort(1, descending=True).values[:, 5:7].mean(1, keepdim=True)
        held = [v.detach() for v in (cut(t), 2 * size(t).std(1, keepdim=True))]

        def value(maps, share):
            threshold, scale = (
                share * own + (1 - share) * old
                for own, old in zip((cut(maps), 2 * size(maps).std(1, keepdim=True)), held, strict=True)
            )
            return -(torch.sigmoid((size(maps) - threshold) / scale) * top).sum(1) / 6

        torch.testing.assert_close(objective(t, clean, IMAGES), value(t, 1))
        (gradient,) = torch.autograd.grad(objective(t, clean, IMAGES).sum(), t)
        d = some_maps(5)
        numeric = (value(t + 1e-6 * d, 0.5) - value(t - 1e-6 * d, 0.5)).detach() / 2e-6
        torch.testing.assert_close((gradient * d).flatten(1).sum(1), numeric, rtol=1e-6, atol=1e-9)
        objective, held_fast = objective.variants
        (gradient,) = torch.autograd.grad(held_fast(t, clean, IMAGES).sum(), t)
        assert bool(((gradient.sum(1).flatten(1) != 0) <= top).all())
        torch.testing.assert_close(objective(t, clean, IMAGES), value(t, 1))
    assert torch.autograd.gradcheck(lambda m: objective(m, clean, IMAGES), some_maps(0).requires_grad_())


def test_bad_input():
    with pytest.raises(ValueError, match=r"top_k: k must lie in \(0, 100\]"):
        top_k(0)
    with pytest.raises(TypeError, match="target_region: region must be a tensor of booleans"):
        target_region(torch.ones(8, 8))
    with pytest.raises(ValueError, match="target_region: the region holds no pixel"):
        target_region(torch.zeros(8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"target_region: the mask has 6 pixels per image, the maps 30"):
        target_region(torch.ones(4, 2, 3, dtype=torch.bool))(some_maps(), None, IMAGES)
