"""Reductions over draws: against the maps of all draws at once, ties, blocks, refusals."""

import functools
import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.saliency import saliency
from holdfast.explanations.smooth_grad import smooth_grad
from holdfast.explanations.summary import reduce_draws, summarise


def ensemble_of(count=7):
    torch.manual_seed(0)
    return Ensemble.from_networks([nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)) for _ in range(count)])


@pytest.mark.parametrize("method", [saliency, smooth_grad, functools.partial(smooth_grad, copies=3)])
@pytest.mark.parametrize("of", ["margin", "log_predictive"])
def test_blocks_give_what_all_maps_at_once_give(method, of, monkeypatch):
    ensemble, x = ensemble_of(), torch.rand(11, 6)
    monkeypatch.setattr("holdfast.tiles.TILE", 7 * 6 * 4 * 3)  # two images to a block
    sizes = []

    def watched(*args, **settings):
        sizes.append(len(args[1]))
        return method(*args, **settings)

    watched.__signature__ = inspect.signature(method)
    summary = summarise(watched, ensemble, x, of=of, quantiles=(0.0, 0.3, 1.0), top=34)
    assert sizes == [11] if "copies" in watched.__signature__.parameters else [2, 2, 2, 2, 2, 1]
    maps = method(ensemble, x, ensemble.predict(x), of=of)
    torch.testing.assert_close(summary.mean, maps.mean(0))
    deviation = maps.std(0) if of == "margin" else torch.zeros(11, 6)
    torch.testing.assert_close(summary.deviation, deviation)
    torch.testing.assert_close(summary.quantiles, maps.quantile(torch.tensor([0.0, 0.3, 1.0]), 0))
    rank = maps.abs().argsort(-1, descending=True).argsort(-1)
    torch.testing.assert_close(summary.top_share, (rank < 2).float().mean(0))


def test_same_bytes_under_every_memory_budget():
    ensemble, x = ensemble_of(), torch.rand(40, 6)
    one, other = (summarise(saliency, ensemble, x, memory=m, top=20) for m in (1 << 26, 1 << 30))
    for name in ("mean", "deviation", "quantiles", "top_share"):
        assert torch.equal(getattr(one, name), getattr(other, name))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.floats(1, 100), st.integers(0, 3))
def test_the_top_has_its_size_whatever_the_ties(draws, pixels, top, values):
    maps = torch.randint(-values, values + 1, (draws, 2, pixels)).double()
    share = reduce_draws(maps, (), top).top_share
    count = max(1, int(pixels * top / 100 + 1e-9))
    torch.testing.assert_close(share.sum(-1), torch.full((2,), float(count), dtype=torch.float64))
    for b in range(2):
        for p in range(pixels):
            inside = 0
            for s in range(draws):
                size = maps[s, b].abs()
                before = int((size > size[p]).sum() + (size[:p] == size[p]).sum())
                inside += before < count
            assert share[b, p] == pytest.approx(inside / draws)


def test_one_draw_has_no_spread_and_quantiles_may_be_left_out():
    summary = summarise(saliency, nn.Linear(4, 3), torch.rand(2, 4), quantiles=())
    assert torch.equal(summary.deviation, torch.zeros(2, 4))
    assert summary.quantiles.shape == (0, 2, 4)
    assert summary.top_share is None


def test_bad_settings_are_refused():
    ensemble, x = ensemble_of(), torch.rand(4, 6)
    with pytest.raises(ValueError, match=r"summarise: every quantile must lie in \[0.0, 1.0\], got 5"):
        summarise(saliency, ensemble, x, quantiles=(5,))
    with pytest.raises(ValueError, match=r"summarise: top must lie in \(0.0, 100.0\], got 0"):
        summarise(saliency, ensemble, x, top=0)
    with pytest.raises(
        ValueError, match="with noise needs the maps of all images at once, 672 bytes, beyond memory=100"
    ):
        summarise(smooth_grad, ensemble, x, memory=100)
    with pytest.raises(TypeError, match="ask for one layer at a time"):
        summarise(lambda *a, **k: {}, ensemble, x)
    with pytest.raises(ValueError, match="summarise: expected a batch of at least one image"):
        summarise(saliency, ensemble, x[:0])
