"""Quantities and verdicts on tables whose numbers are known."""

import numpy as np
import pandas
import pytest

from holdfast.studies.reproduce.claim import Claim, Evidence
from holdfast.studies.reproduce.estimate import NotThere
from holdfast.studies.reproduce.quantities import Number, beyond_chance, estimate
from holdfast.studies.reproduce.verdict import judge

IMAGES = 60


def table(**levels):
    """k-LRP of each treatment: a common part for each image, the treatment's level, and a little noise."""
    random = np.random.default_rng(0)
    common = random.normal(0, 0.2, IMAGES)
    frames = []
    for treatment, level in levels.items():
        for draws in (10, 100):
            values = common + level * np.log10(draws) + random.normal(0, 0.01, IMAGES)
            rows = {"treatment": treatment, "draws": draws, "seed": 0, "epsilon": 0.2, "image": range(IMAGES)}
            frames.append(pandas.DataFrame(rows | {"k_lrp": values, "label_kept": np.arange(IMAGES) % 2 == 0}))
    return pandas.concat(frames, ignore_index=True)


def evidence(quantity="difference", expect="positive", **more):
    where = {"treatment": "hmc", "draws": 100} if quantity != "trend" else {"treatment": "hmc"}
    settings = {"where": where, "against": {"treatment": "deterministic"}} | more
    return Evidence(study="BE-F3", panel="MNIST", quantity=quantity, expect=expect, **settings)


def verdict(tables, *pieces):
    claim = Claim(id="X", paper="BE", statement="s", source="s", evidence=pieces)
    return judge(claim, {("BE-F3", "MNIST", preset): tables for preset in ("published", "corrected")})


def test_a_difference_is_paired():
    found = estimate(evidence(), {"resilience": table(deterministic=0.0, hmc=0.05)})
    assert found.value == pytest.approx(0.1, abs=0.005)
    assert found.high - found.low < 0.01 < 0.2  # the common part of the images, twenty times as wide, is gone
    assert found.images == IMAGES


def test_a_trend_is_per_e_fold_of_draws():
    found = estimate(evidence("trend"), {"resilience": table(hmc=0.05)})
    assert found.value == pytest.approx(0.05 / np.log(10), abs=0.002)


def test_a_correlation_is_of_ranks():
    tables = {"resilience": table(hmc=0.0)}
    tables["predictions"] = tables["resilience"].assign(softmax_robustness=lambda t: np.exp(5 * t.k_lrp))
    tables["predictions"] = tables["predictions"].drop(columns=["k_lrp", "label_kept"])
    found = estimate(evidence("correlation", other="softmax_robustness"), tables)
    assert found.value == pytest.approx(1.0)
    assert found.low == pytest.approx(1.0)


def test_only_images_whose_decision_was_kept():
    tables = {"resilience": table(deterministic=0.0, hmc=0.05)}
    assert estimate(evidence(only="kept"), tables).images == IMAGES // 2


def test_a_difference_is_of_images_whose_decision_both_sides_kept():
    both = table(deterministic=0.0, hmc=0.05)
    both.loc[both.treatment == "deterministic", "label_kept"] = both.image % 3 == 0
    assert estimate(evidence(only="kept"), {"resilience": both}).images == IMAGES // 6


def test_an_advantage_is_measured_on_the_same_images():
    tables = {"resilience": table(deterministic=0.0, hmc=0.05, deep_ensemble=0.04)}
    gap = Number(evidence(), tables).advantage({"treatment": "deep_ensemble"})
    assert gap.value == pytest.approx(0.02, abs=0.005)
    assert gap.low > 0


@pytest.mark.parametrize(
    ("levels", "settings", "expected", "why"),
    [
        ({"hmc": 0.1}, {"paper": 0.28}, "holds", ""),
        ({"hmc": 0.05}, {"paper": 0.28}, "holds weaker", "less than half of the paper's"),
        ({"hmc": 0.1, "deep_ensemble": 0.1}, {}, "holds weaker", "it is not clearly ahead of the deep ensemble"),
        ({"hmc": 0.1, "deep_ensemble": 0.05}, {}, "holds", ""),
        ({"hmc": 0.0}, {}, "does not hold", "not above zero"),
        ({"hmc": -0.1}, {}, "does not hold", "not above zero"),
        ({"hmc": 0.0}, {"expect": "zero"}, "holds", ""),
        ({"hmc": 0.1}, {"expect": "zero"}, "does not hold", "not within 0.02 of zero"),
        ({}, {}, "untestable", "no rows with treatment hmc"),
    ],
)
def test_verdicts(levels, settings, expected, why):
    tables = {"resilience": table(deterministic=0.0, **levels)}
    controls = [{"treatment": name} for name in levels if name == "deep_ensemble"]
    piece = evidence(controls=controls, **settings)
    (finding,) = verdict(tables, piece).findings
    assert finding.verdict == expected
    assert why in finding.why


def test_a_claim_is_as_strong_as_its_evidence():
    tables = {"resilience": table(deterministic=0.0, hmc=0.1, noise_grad=0.0)}
    good, bad = evidence(), evidence(where={"treatment": "noise_grad", "draws": 100})
    assert verdict(tables, good).verdict == "holds"
    assert verdict(tables, good, bad).verdict == "holds weaker"
    assert verdict(tables, good, bad, bad).verdict == "does not hold"


def test_labels_that_do_not_settle_on_one_row_are_refused():
    with pytest.raises(NotThere, match="do not settle on one row for each image"):
        estimate(evidence(where={"treatment": "hmc"}), {"resilience": table(deterministic=0.0, hmc=0.1)})


def test_a_trend_over_draws_counts_those_that_there_were():
    rows = table(hmc=0.05)
    here = {10: 2, 100: 6}  # of the table's numbers, which are the paper's
    found = estimate(evidence("trend"), {"resilience": rows.assign(averaged=rows.draws.map(here))})
    x = np.log(list(here.values())) - np.log(list(here.values())).mean()
    levels = [rows[(rows.treatment == "hmc") & (rows.draws == n)].k_lrp.mean() for n in here]
    assert found.value == pytest.approx(float(x @ levels / (x @ x)))
    assert found.value != pytest.approx(estimate(evidence("trend"), {"resilience": rows}).value)
    with pytest.raises(NotThere, match="several values of draws"):
        estimate(evidence("trend"), {"resilience": rows.assign(averaged=3)})


def test_a_trend_may_be_over_another_column():
    frames = []
    for spread in (0.1, 0.2, 0.4):
        values = np.linspace(0, 1, 9) - 0.3 * np.log2(spread)
        frames.append(pandas.DataFrame({"spread": spread, "seed": 0, "image": range(9), "value": values}))
    tables = {"smoothing": pandas.concat(frames, ignore_index=True)}
    asked = evidence("trend", table="smoothing", column="value", over="spread", where={})
    assert estimate(asked, tables).value == pytest.approx(-0.3 / np.log(2))
    with pytest.raises(NotThere, match="several values of spread, all above 0"):
        estimate(asked, {"smoothing": tables["smoothing"].assign(spread=0.1)})


def test_images_without_one_of_two_columns_do_not_enter_a_correlation():
    values = np.arange(20.0)
    frame = pandas.DataFrame({"seed": 0, "image": range(20), "a": values, "b": np.exp(-values)})
    asked = evidence("correlation", table="t", column="a", other="b", where={})
    frame.loc[3, "a"], frame.loc[5, "b"] = np.nan, np.nan
    found = estimate(asked, {"t": frame})
    assert found.value == pytest.approx(-1)
    assert found.images == 18
    frame.loc[:15, "a"] = np.nan
    with pytest.raises(NotThere, match="only 4 such images"):
        estimate(asked, {"t": frame})


def test_a_paper_whose_own_number_is_on_the_other_side_cannot_be_fallen_short_of():
    tables = {"resilience": table(deterministic=0.0, hmc=0.05)}
    assert verdict(tables, evidence(paper=-0.01)).verdict == "holds"
    assert verdict(tables, evidence(paper=0.4)).verdict == "holds weaker"


def with_chance(**levels):
    """HMC scores a little higher; each treatment has a chance level of its own."""
    found = table(deterministic=0.0, hmc=0.05).assign(chance=lambda t: t.treatment.map(levels))
    return found.assign(k_lrp_corrected=lambda t: (t.k_lrp - t.chance) / (1 - t.chance))


def test_what_chance_explains_is_told_from_what_it_does_not():
    tables = {"resilience": with_chance(deterministic=0.2, hmc=0.8)}
    raw, (beyond, level) = estimate(evidence(), tables), beyond_chance(evidence(), tables)
    assert raw.low > 0 > beyond.high  # a small lead, at a much higher level
    assert level == pytest.approx(0.8)
    (finding,) = verdict(tables, evidence()).findings
    assert finding.verdict == "holds weaker"
    assert "not there once the chance level is taken off" in finding.why
    assert (finding.beyond_chance, finding.chance) == (beyond, level)
    (other,) = verdict(tables, evidence(expect="negative")).findings
    assert (other.verdict, "though it is once" in other.why) == ("does not hold", True)


def test_scores_without_a_chance_level_are_judged_without():
    with pytest.raises(NotThere, match="no column chance"):
        beyond_chance(evidence(), {"resilience": table(deterministic=0.0, hmc=0.1)})
    with pytest.raises(NotThere, match="correlation of k_lrp has no chance level"):
        beyond_chance(evidence("correlation", other="softmax_robustness"), {"resilience": with_chance(hmc=0.8)})


def of_seeds(**leads):
    """HMC leads by another amount in each training seed, by the same for all its images."""
    one, frames = table(deterministic=0.0, hmc=0.0), []
    for seed, lead in enumerate(leads.values()):
        frames.append(one.assign(seed=seed, k_lrp=one.k_lrp + lead * (one.treatment == "hmc")))
    return pandas.concat(frames, ignore_index=True)


def test_intervals_are_over_images_and_training_seeds():
    alike, apart = (estimate(evidence(), {"resilience": of_seeds(a=a, b=b)}) for a, b in ((0.2, 0.2), (0.0, 0.4)))
    assert (alike.seeds, apart.seeds, apart.images) == (2, 2, IMAGES)
    assert alike.value == pytest.approx(apart.value)
    assert alike.high - alike.low < 0.01  # what images alone say
    assert apart.low < 0.01  # both seeds drawn may be the first one
    assert apart.high > 0.39


def test_a_correlation_is_over_images_and_training_seeds_too():
    random, frames = np.random.default_rng(0), []
    for seed, sign in enumerate((1, -1)):
        a = random.normal(size=IMAGES)
        rows = {"treatment": "hmc", "seed": seed, "image": range(IMAGES), "a": a, "b": sign * a}
        frames.append(pandas.DataFrame(rows))
    asked = evidence("correlation", table="t", column="a", other="b", where={"treatment": "hmc"})
    alone, both = (estimate(asked, {"t": pandas.concat(frames[:n])}) for n in (1, 2))
    assert (alone.seeds, alone.low, alone.high) == (1, pytest.approx(1), pytest.approx(1))
    assert (both.seeds, both.value, both.low, both.high) == (2, pytest.approx(0), pytest.approx(-1), pytest.approx(1))


def test_a_correlation_with_ties_is_scipys():
    from scipy.stats import spearmanr

    random = np.random.default_rng(1)
    frame = pandas.DataFrame({"seed": 0, "image": range(40), "a": random.integers(0, 5, 40).astype(float)})
    frame["b"] = frame.a + random.integers(0, 4, 40)
    found = estimate(evidence("correlation", table="t", column="a", other="b", where={}), {"t": frame})
    assert found.value == pytest.approx(spearmanr(frame.a, frame.b).statistic)
    assert found.low < found.value < found.high < 1


def test_a_seed_whose_training_failed_costs_that_seed_alone():
    whole = of_seeds(a=0.1, b=0.2, c=0.9)
    partial = whole[(whole.seed != 2) | (whole.treatment != "hmc")]
    found = estimate(evidence(), {"resilience": partial})
    assert (found.seeds, found.images) == (2, IMAGES)
    assert found.value == pytest.approx(0.15, abs=0.01)


def test_an_advantage_is_on_images_that_both_sides_kept():
    both = table(deterministic=0.0, hmc=0.05, deep_ensemble=0.04)
    both.loc[both.treatment == "deep_ensemble", "label_kept"] = both.image % 3 == 0
    gap = Number(evidence(only="kept"), {"resilience": both}).advantage({"treatment": "deep_ensemble"})
    assert gap.images == IMAGES // 6
