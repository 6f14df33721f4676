"""Mixing: chains with known answers, the verdict's thresholds, what cannot be judged."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.diagnostics.mixing import LEVELS, Mixing, mean_and_error, mixing, verdict


def autoregressive(chains, draws, functions, correlation, seed=0, apart=0.0):
    """Chains x_t = c x_{t-1} + sqrt(1 - c^2) noise, of mean 0 and variance 1, each shifted by a constant of its own."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(draws, chains, functions, generator=generator, dtype=torch.float64)
    x = [noise[0]]
    for step in noise[1:]:
        x.append(correlation * x[-1] + math.sqrt(1 - correlation**2) * step)
    shift = apart * torch.linspace(-1, 1, chains, dtype=torch.float64)[:, None, None]
    return (torch.stack(x).transpose(0, 1) + shift).flatten(0, 1)


def test_effective_sample_size_and_error_of_autoregressive_chains():
    for correlation in (0.0, 0.6):
        found = mixing(autoregressive(4, 1000, 200, correlation), 4)
        expected = 4000 * (1 - correlation) / (1 + correlation)
        assert abs(np.median(found.ess) / expected - 1) < 0.06
        assert abs(np.median(found.mcse) / expected**-0.5 - 1) < 0.06
        assert found.rhat.max() < 1.02
        assert verdict({"f": found}, 4000) == "mixed in function space"


def test_rhat_is_the_split_rank_normalised_one():
    """Against a slow rewrite of the published formula, for draws without ties."""
    from scipy.stats import norm, rankdata

    draws = autoregressive(3, 40, 5, 0.3, apart=0.5)
    found = mixing(draws, 3)
    for f in range(5):
        halves = draws[:, f].reshape(6, 20).numpy()
        each = []
        for values in (halves, np.abs(halves - np.median(halves))):
            ranks = rankdata(values).reshape(values.shape)
            z = norm.ppf((ranks - 0.375) / (values.size + 0.25))
            within, between = z.var(1, ddof=1).mean(), 20 * z.mean(1).var(ddof=1)
            each.append(math.sqrt((19 / 20 * within + between / 20) / within))
        assert math.isclose(found.rhat[f], max(each), rel_tol=1e-9)


def test_chains_apart_and_chains_of_different_width_are_seen():
    apart = mixing(autoregressive(4, 200, 50, 0.0, apart=2.0), 4)
    assert apart.rhat.min() > 1.3
    assert verdict({"good": mixing(autoregressive(4, 200, 50, 0.0), 4), "bad": apart}, 800).endswith("4 local chains")
    wide = autoregressive(4, 200, 50, 0.0).view(4, 200, 50)
    wide[0] *= 6  # same mean: only the folded statistic sees it
    assert mixing(wide.flatten(0, 1), 4).rhat.min() > 1.05
    trend = autoregressive(2, 200, 50, 0.0).view(2, 200, 50) + torch.linspace(-2, 2, 200)[None, :, None]
    assert mixing(trend.flatten(0, 1), 2).rhat.min() > 1.2  # same in both chains: only splitting sees it


def test_chains_that_stand_still():
    still = torch.arange(3.0).repeat_interleave(10)[:, None]
    found = mixing(still, 3)
    assert found.rhat.tolist() == [math.inf]
    assert found.row()["rhat_99"] == math.inf
    assert verdict({"f": found}, 30) == "ensemble of 3 local chains"
    nowhere = mixing(torch.ones(30, 7), 3)
    assert (nowhere.constant, len(nowhere.rhat)) == (7, 0)
    assert math.isnan(nowhere.row()["rhat_50"])
    assert verdict({"f": nowhere}, 30) == "ensemble of 3 local chains"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((90, 9, 1), "mixed in function space"),
        ((89, 10, 1), "partly mixed"),
        ((90, 8, 2), "partly mixed"),
        ((0, 90, 10), "partly mixed"),
        ((80, 9, 11), "ensemble of 2 local chains"),
    ],
)
def test_thresholds_of_the_verdict(shares, expected):
    rhat = np.repeat([1.0499, 1.1999, 1.2], shares)
    rest, enough = np.ones(100), np.full(100, 100.0)
    assert verdict({"f": Mixing(100, 0, rhat, enough, rest, 2)}, 100) == expected
    good = Mixing(100, 0, rest, enough, rest, 2)
    assert verdict({"f": good, "g": Mixing(100, 0, rhat, enough, rest, 2)}, 100) == expected  # the worst family decides


@pytest.mark.parametrize(("few", "mixed"), [(10, True), (11, False)])
def test_small_rhats_of_short_chains_are_no_evidence(few, mixed):
    rhat, ess = np.ones(100), np.repeat([99.9, 100.0], (few, 100 - few))
    assert (verdict({"f": Mixing(100, 0, rhat, ess, rhat, 2)}, 400) == "mixed in function space") is mixed
    assert verdict({"f": Mixing(100, 0, rhat, ess, rhat, 2)}, 400).endswith("2 local chains") is not mixed


@pytest.mark.parametrize("draws", [4, 10])
def test_short_chains_that_lie_apart_are_not_said_to_agree(draws):
    """Functions of a network share what moves them, so that 90 % of them look alike when one does."""
    shares = torch.linspace(0.5, 2, 20, dtype=torch.float64)[None]
    factors = [autoregressive(2, draws, 1, 0.0, seed=seed, apart=0.5) for seed in range(40)]
    said = {verdict({"f": mixing(factor @ shares, 2)}, 2 * draws) for factor in factors}
    assert said == {"ensemble of 2 local chains"}


def test_what_cannot_be_judged():
    draws = autoregressive(1, 50, 3, 0.0)
    assert verdict({"f": mixing(draws, 1)}, 50) == "ensemble of 1 local chain"
    assert np.isnan(mixing(draws, 1).rhat).all()
    assert np.isfinite(mixing(draws, 1).mcse).all()
    assert verdict({"f": mixing(draws[:6], 2)}, 6) == "ensemble of 2 local chains"  # three draws each
    assert verdict({"f": mixing(draws, None)}, 50) == "independent draws"
    assert verdict({"f": mixing(draws[:1], None)}, 1) == "one network"


def test_independent_draws_have_the_error_of_independent_draws():
    draws = autoregressive(1, 25, 4, 0.0)
    found = mixing(draws, None)
    assert found.ess.tolist() == [25.0] * 4
    assert np.allclose(found.mcse, draws.std(0) / 5)
    assert mean_and_error(draws[:, 0], None) == (float(draws[:, 0].mean()), pytest.approx(float(draws[:, 0].std()) / 5))
    assert mean_and_error(torch.ones(1), None) == (1.0, 0.0)
    assert mean_and_error(torch.ones(9), 3) == (1.0, 0.0)


def test_the_error_covers_the_truth():
    """Means of many functions with true mean 0 lie within two errors about 95 times of 100."""
    draws = autoregressive(4, 250, 600, 0.7, seed=3)
    found = mixing(draws, 4)
    covered = (draws.mean(0).abs().numpy() < 2 * found.mcse).mean()
    assert 0.92 < covered < 0.98


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10**6))
def test_selection_and_quantiles(functions, seed):
    draws = autoregressive(2, 8, functions, 0.5, seed)
    draws[:, ::3] = 4.0
    found = mixing(draws, 2, most=10, seed=seed)
    varying = functions - len(range(0, functions, 3))
    row = found.row()
    assert (row["functions"], row["constant"], row["examined"]) == (functions, functions - varying, min(varying, 10))
    if varying:
        for level in LEVELS:
            assert (found.rhat <= row[f"rhat_{100 * level:.0f}"]).mean() >= level
            assert (found.ess >= row[f"ess_{100 * level:.0f}"]).mean() >= level
        assert found.curve()[0] == found.rhat.min()
        assert found.curve()[-1] == found.rhat.max()
        assert found.curve() == sorted(found.curve())
    again = mixing(draws, 2, most=10, seed=seed)
    assert np.array_equal(found.rhat, again.rhat)


def test_copies_of_a_chain():
    draws = autoregressive(2, 20, 3, 0.5)
    copied = torch.cat([draws, draws[:20]])
    with pytest.raises(ValueError, match="chains 0 and 2 have the same values throughout; copies of a chain agree"):
        mixing(copied, 3)
    copied[45] += 1e-9
    assert len(mixing(copied, 3).rhat) == 3
    coins = torch.tensor([0.0, 1.0, 1.0, 0.0]).repeat(3)  # of few values: three chains may well agree
    assert len(mixing(coins[:, None], 3).rhat) == 1


def test_errors():
    draws = torch.zeros(6, 2)
    draws[4, 1] = torch.nan
    with pytest.raises(ValueError, match=r"1 draws hold NaN or infinite values, the first of them draw 4"):
        mixing(draws, 2)
    with pytest.raises(ValueError, match=r"6 draws cannot be shared evenly by 4 chains"):
        mixing(torch.zeros(6, 2), 4)
