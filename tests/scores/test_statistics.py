"""Comparisons against scipy, closed forms, and simulations in which the truth is known."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from holdfast.scores import compare, holm
from holdfast.scores.statistics import rank_biserial, wilcoxon


def random(seed):
    return np.random.default_rng(seed)


def test_equals_scipy_on_continuous_scores():
    a, b = random(0).normal(loc=[[0.3], [0.0]], size=(2, 60))
    for alternative in ("two-sided", "greater", "less"):
        found = compare(a, b, seed=0, alternative=alternative, resamples=10)
        assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(a, b, alternative=alternative).pvalue, rel=1e-12)
        assert found.mann_whitney_p == stats.mannwhitneyu(a, b, alternative="greater").pvalue
    assert (found.mean, found.median) == (pytest.approx((a - b).mean()), pytest.approx(np.median(a - b)))
    assert (found.images, found.seeds, found.unchanged) == (60, 1, 0.0)


def test_intervals_equal_scipy():
    a, b = random(1).exponential(size=(2, 40))
    found = compare(torch.tensor(a), b.tolist(), seed=3, level=0.9, resamples=500)
    options = {"confidence_level": 0.9, "n_resamples": 500, "batch": 500}
    mean = stats.bootstrap((a - b,), np.mean, method="BCa", random_state=random(3), **options)
    median = stats.bootstrap((a - b,), np.median, method="percentile", random_state=random(3), **options)
    assert found.mean_interval == pytest.approx(tuple(mean.confidence_interval))
    assert found.median_interval == pytest.approx(tuple(median.confidence_interval))
    assert found.level == 0.9


def pratt_by_enumeration(differences):
    """Exact two-sided p-value: all signs of the differences that are not zero, ranks among all of them."""
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    observed = (ranks * np.sign(differences[differences != 0])).sum()
    signs = np.array(list(itertools.product((-1, 1), repeat=ranks.size)))
    return np.mean(np.abs(signs @ ranks) >= abs(observed) - 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_zeros_are_ranked_and_dropped(seed):
    """Near the exact p-value of the permutation distribution; dropping the zeros before ranking is another test."""
    differences = np.append(random(seed).integers(-30, 50, 12) / 64, np.zeros(6))
    found = wilcoxon(differences)
    assert found == pytest.approx(pratt_by_enumeration(differences), abs=0.03)
    assert found != pytest.approx(stats.wilcoxon(differences, zero_method="wilcox").pvalue, rel=0.01)


@settings(max_examples=60, deadline=None)
@given(differences=st.lists(st.integers(-4, 4), min_size=1, max_size=30))
def test_effect_size_counts_pairs(differences):
    """The signed-rank sum in Walsh averages: pairs i <= j with d_i + d_j above zero, minus those below."""
    pairs = [np.sign(a + b) for a, b in itertools.combinations_with_replacement(differences, 2)]
    n = len(differences)
    if len({abs(d) for d in differences}) == n and 0 not in differences:  # ties and zeros break the identity
        assert rank_biserial(np.array(differences, dtype=float)) == pytest.approx(sum(pairs) / (n * (n + 1) / 2))
    assert -1 <= rank_biserial(np.array(differences, dtype=float)) <= 1
    swapped = rank_biserial(-np.array(differences, dtype=float))
    assert swapped == pytest.approx(-rank_biserial(np.array(differences, dtype=float)))


def test_effect_size_by_hand():
    assert rank_biserial(np.array([1.0, 2, 3])) == 1
    assert rank_biserial(np.array([1.0, -2, 3])) == pytest.approx((1 - 2 + 3) / 6)
    assert rank_biserial(np.array([1.0, -1, 3])) == pytest.approx((1.5 - 1.5 + 3) / 6)
    assert rank_biserial(np.array([0.0, 0, 0, 1])) == pytest.approx(4 / 10)  # one changed image out of four


def test_swapping_the_ensembles_mirrors_the_result():
    a, b = random(2).normal(size=(2, 50))
    one, other = compare(a, b, seed=0, resamples=50), compare(b, a, seed=0, resamples=50)
    assert (one.mean, one.median, one.effect_size) == pytest.approx((-other.mean, -other.median, -other.effect_size))
    assert one.wilcoxon_p == pytest.approx(other.wilcoxon_p)
    assert one.mann_whitney_p == pytest.approx(1 - other.mann_whitney_p, abs=0.01)


def test_same_seed_same_bytes():
    a, b = random(3).normal(size=(2, 3, 50))
    for first, second in ((a, b), (a[0], b[0])):
        assert compare(first, second, seed=1, resamples=99) == compare(first, second, seed=1, resamples=99)
        assert compare(first, second, seed=1, resamples=99) != compare(first, second, seed=2, resamples=99)


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_differences_that_are_all_equal(shift):
    scores = random(4).integers(0, 8, (3, 20)) / 8
    for a in (scores[0], scores):
        found = compare(a + shift, a, seed=0, resamples=20)
        assert found.mean_interval == found.median_interval == (shift, shift)
        assert found.unchanged == (shift == 0)
        assert (found.wilcoxon_p, found.effect_size) == (1.0, 0.0) if shift == 0 else found.wilcoxon_p < 1e-4
    constant = compare(np.ones(5), np.ones(5), seed=0, resamples=20)
    assert constant.mann_whitney_p == 1.0


@pytest.mark.parametrize("differences", [[0.0, 0.1], [0.0] * 30 + [1.0], [0.0] * 5 + [1e-300]])
def test_intervals_stay_finite_on_nearly_constant_data(differences):
    found = compare(differences, np.zeros(len(differences)), seed=0, resamples=200)
    assert found.mean_interval[0] <= found.mean <= found.mean_interval[1]
    assert 0 < found.wilcoxon_p <= 1


def coverage(draw, truth, resamples, trials):
    """Share of simulated data sets whose 90 percent interval for the mean holds the truth."""
    data = [draw(i) for i in trials]
    found = [compare(d, np.zeros_like(d), seed=i, level=0.9, resamples=resamples) for i, d in enumerate(data)]
    return np.mean([f.mean_interval[0] <= truth <= f.mean_interval[1] for f in found]), found


def test_the_interval_over_images_covers_the_truth():
    """Skewed differences of known mean 1 and median log 2; a right 90 percent interval misses 270 +- 13 in 300."""
    share, found = coverage(lambda i: random(i).exponential(size=60), 1.0, 300, range(300))
    assert 0.85 <= share <= 0.945
    medians = np.mean([f.median_interval[0] <= np.log(2) <= f.median_interval[1] for f in found])
    assert 0.85 <= medians <= 0.95


def test_the_interval_over_images_and_seeds_covers_the_truth():
    """Images and seeds both shift the difference. Taking the images alone misses most of the variation."""

    def draw(i):
        r = random(i)
        return r.normal(size=(12, 1)) + r.normal(size=(1, 60)) + r.normal(size=(12, 60))

    share, _ = coverage(draw, 0.0, 300, range(300))
    assert 0.83 <= share <= 0.95  # a little below 90 percent, as every bootstrap of twelve seeds
    images_only, _ = coverage(lambda i: draw(i)[0], 0.0, 100, range(150))
    assert images_only < 0.5


def test_false_positives_come_at_the_stated_rate():
    """No difference, k-LRP-like scores with ties and zeros: 5 percent of the tests say there is one."""
    p = []
    for i in range(600):
        a, b = random(i).binomial(12, 0.5, size=(2, 60)) / 12
        p.append(wilcoxon(a - b))
    assert 0.03 <= np.mean(np.array(p) < 0.05) <= 0.075


def test_a_planted_effect_is_found_by_the_paired_test_only():
    """Images differ far more than ensembles do: pairing sees a gain of 0.02, the papers' unpaired test does not."""
    image = random(0).uniform(0.1, 0.9, 200)
    a = image + 0.02 + random(1).normal(scale=0.03, size=200)
    found = compare(a, image, seed=0, resamples=500)
    assert found.wilcoxon_p < 1e-10
    assert 0 < found.mean_interval[0] < 0.02 < found.mean_interval[1] < 0.03
    assert 0.4 < found.effect_size < 1
    assert found.mann_whitney_p > 0.05


def test_seed_means_are_what_the_tests_see():
    a, b = random(5).normal(size=(2, 4, 30))
    found = compare(a, b, seed=0, resamples=30)
    assert found.wilcoxon_p == wilcoxon((a - b).mean(0))
    assert found.mann_whitney_p == stats.mannwhitneyu(a.mean(0), b.mean(0), alternative="greater").pvalue
    assert (found.seeds, found.images) == (4, 30)


@pytest.mark.parametrize("seed", range(8))
def test_holm_equals_the_step_down_rule(seed):
    """At every level, what the adjusted values reject is what Holm's rule rejects step by step."""
    p = (random(seed).uniform(size=seed + 1) ** 3).tolist()
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.3):
        rejected, left = set(), sorted(range(len(p)), key=p.__getitem__)
        while left and p[left[0]] * len(left) <= level:
            rejected.add(left.pop(0))
        assert {i for i in range(len(p)) if adjusted[i] <= level} == rejected


def test_holm_keeps_the_shape():
    assert holm(np.full((2, 3), 0.01)).tolist() == [[pytest.approx(0.06)] * 3] * 2
    assert holm([0.0, 1.0]).tolist() == [0.0, 1.0]


def test_refuses_bad_scores():
    good = np.linspace(0, 1, 5)
    with pytest.raises(ValueError, match=r"scores of the same images, .* got shapes \(5,\) and \(4,\)"):
        compare(good, good[:4], seed=0)
    with pytest.raises(ValueError, match="first holds 1 NaN or infinite scores; leave those images out of both"):
        compare(np.append(good[:4], np.nan), good, seed=0)
    with pytest.raises(ValueError, match="at least two images, and two seeds if there is a seed axis"):
        compare(good[:1], good[:1], seed=0)
    with pytest.raises(ValueError, match="two seeds if there is a seed axis"):
        compare(good[None], good[None], seed=0)
    with pytest.raises(ValueError, match=r"level must lie in \(0, 1\]"):
        compare(good, good, seed=0, level=95)
    with pytest.raises(ValueError, match="level below 1 and at least one resample"):
        compare(good, good, seed=0, resamples=0)
    with pytest.raises(ValueError, match="'two-sided', 'greater' or 'less', got 'more'"):
        compare(good, good, seed=0, alternative="more")
    with pytest.raises(ValueError, match=r"p-value in \[0, 1\], none of them NaN"):
        holm([0.1, np.nan])
    with pytest.raises(ValueError, match="at least one p-value"):
        holm([])
