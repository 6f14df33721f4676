"""What a verdict rests on: sizes that matter, sides, cases, controls, and tests."""

import numpy as np
import pandas
import pytest

from holdfast.studies.reproduce.claim import Claim, Evidence
from holdfast.studies.reproduce.estimate import NotThere
from holdfast.studies.reproduce.quantities import Number, estimate
from holdfast.studies.reproduce.verdict import judge

IMAGES = 80


def table(column="value", **levels):
    """One row for each treatment and image; levels are numbers, or one for each image."""
    common = np.random.default_rng(0).normal(0, 0.2, IMAGES)
    noise = np.random.default_rng(1).normal(0, 0.01, (len(levels), IMAGES))
    rows = [
        pandas.DataFrame({"treatment": name, "seed": 0, "image": range(IMAGES), column: common + level + own})
        for (name, level), own in zip(levels.items(), noise, strict=True)
    ]
    return pandas.concat(rows, ignore_index=True)


def evidence(expect="positive", quantity="difference", **more):
    settings = {"where": {"treatment": "hmc"}, "against": {"treatment": "base"}, "table": "t", "column": "value"}
    return Evidence(study="BE-F3", panel="MNIST", quantity=quantity, expect=expect, **(settings | more))


def judged(frame, *pieces, **claim):
    claim = Claim(id="X", paper="BE", statement="s", source="s", evidence=pieces, **claim)
    return judge(claim, {("BE-F3", "MNIST", "corrected"): {"t": frame}})


@pytest.mark.parametrize(
    ("level", "least", "expected", "why"),
    [
        (0.10, 0.02, "holds", ""),
        (0.021, 0.02, "holds weaker", "it may be less than 0.02, which is too little to matter"),
        (0.01, 0.02, "does not hold", "its whole interval is within 0.02 of zero"),
        (0.01, 0.0, "holds", ""),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_an_effect_that_is_sure_may_be_too_little_to_matter(level, least, expected, why, sign):
    expect = "positive" if sign > 0 else "negative"
    (found,) = judged(table(base=0.0, hmc=sign * level), evidence(expect, least=least)).findings
    assert found.verdict == expected
    assert why in found.why


@pytest.mark.parametrize(
    ("expect", "level", "expected"),
    [
        ("not below", 0.3, "holds"),
        ("not below", 0.0, "holds"),
        ("not below", -0.1, "does not hold"),
        ("not above", -0.3, "holds"),
        ("not above", 0.0, "holds"),
        ("not above", 0.1, "does not hold"),
        ("zero", -0.3, "does not hold"),
    ],
)
def test_one_side_may_be_enough(expect, level, expected):
    (found,) = judged(table(base=0.0, hmc=level), evidence(expect, margin=0.02)).findings
    assert found.verdict == expected
    assert bool(found.why) == (expected == "does not hold")


def test_a_control_that_does_not_go_as_far_on_one_side():
    controls = [{"treatment": "other"}]
    better, worse = (
        judged(table(base=0.0, hmc=0.0, other=level), evidence("not below", controls=controls)).findings[0]
        for level in (-0.5, 0.5)
    )
    assert (better.verdict, worse.verdict, worse.why) == ("holds", "holds weaker", "it is not clearly ahead of other.")
    (above,) = judged(table(base=0.0, hmc=0.0, other=0.5), evidence("not above", controls=controls)).findings
    assert above.verdict == "holds"  # the control is far above, the claim's own is not


def test_a_claim_about_every_case_fails_with_one_of_them():
    frame = table(base=0.0, hmc=0.1, low=-0.1)
    good, bad = evidence(), evidence(where={"treatment": "low"})
    assert judged(frame, good, good, bad).verdict == "holds weaker"
    assert judged(frame, good, good, bad, every=True).verdict == "does not hold"
    missing = evidence(where={"treatment": "nobody"})
    assert judged(frame, good, missing).verdict == "holds"
    assert judged(frame, good, missing, every=True).verdict == "holds weaker"


def test_half_of_the_evidence_is_enough_where_the_other_half_holds_weaker_at_most():
    frame = table(base=0.0, hmc=0.1, low=-0.1)
    good, weaker, bad = evidence(), evidence(paper=0.9), evidence(where={"treatment": "low"})
    missing = evidence(where={"treatment": "nobody"})
    for pieces, expected in (
        ((weaker, bad), "does not hold"),
        ((weaker, weaker, bad, bad), "does not hold"),
        ((weaker, bad, missing), "does not hold"),
        ((good, bad), "holds weaker"),
        ((good, weaker, bad, bad), "holds weaker"),
        ((weaker, weaker, bad), "holds weaker"),
        ((weaker,), "holds weaker"),
    ):
        assert judged(frame, *pieces).verdict == expected
    assert judged(frame, weaker, bad).why == "1 of 2 holds weaker, 1 of 2 does not hold (1 the other way)."


def test_of_what_does_not_hold_it_is_said_how_it_does_not():
    wide = np.where(np.arange(IMAGES) % 2, 1.0, -1.0)
    frame = table(base=0.0, low=-0.1, small=0.005, wide=wide, high=0.3)
    of = lambda treatment, *given, **more: evidence(*given, where={"treatment": treatment}, **more)
    found = judged(frame, of("low"), of("small", least=0.02), of("wide"), of("high", "zero", margin=0.1))
    assert found.why == "4 of 4 do not hold (2 the other way, 1 too little, 1 undecided)."
    assert [f.why for f in found.findings] == [
        "its interval is not above zero, and no part of it is.",
        "its whole interval is within 0.02 of zero, which is too little to matter.",
        "its interval is not above zero.",
        "its interval is not within 0.1 of zero, and no part of it is.",
    ]
    one_sided = judged(frame, of("high", "not above"), of("low", "not below"), of("wide", "not below"))
    assert one_sided.why == "3 of 3 do not hold (2 the other way, 1 undecided)."


def test_a_control_that_is_not_there_is_said():
    (found,) = judged(table(base=0.0, hmc=0.1), evidence(controls=[{"treatment": "deep_ensemble"}])).findings
    assert (found.verdict, found.why) == ("holds weaker", "it could not be compared with the deep ensemble.")


def test_evidence_has_the_controls_of_its_claim_unless_it_names_its_own():
    frame = table(base=0.0, hmc=0.1, above=0.5, below=-0.5)
    pieces = (evidence(), evidence(controls=[{"treatment": "below"}]), evidence(controls=[]))
    found = judged(frame, *pieces, controls=[{"treatment": "above"}]).findings
    assert [[name for name, _, _ in f.controls] for f in found] == [["above"], ["below"], []]
    assert [f.verdict for f in found] == ["holds weaker", "holds", "holds"]


def test_a_control_that_only_chance_puts_below():
    frame = table("k_lrp", base=0.0, hmc=0.2, other=0.15)
    chance = {"base": 0.0, "hmc": 0.5, "other": 0.0}
    frame["chance"] = frame.treatment.map(chance)
    frame["k_lrp_corrected"] = frame.k_lrp + frame.treatment.map({"base": 0.0, "hmc": 0.1, "other": 0.15})
    asked = evidence(column="k_lrp", controls=[{"treatment": "other"}])
    (found,) = judged(frame, asked).findings
    assert Number(asked, {"t": frame}).advantage({"treatment": "other"}).low > 0
    assert (found.verdict, found.why) == ("holds weaker", "it is not clearly ahead of other.")


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_to_be_zero_must_be_nearer_to_it_than_a_control(sign):
    frame = table(hmc=0.01 * sign, nearer=0.0, farther=-0.2, farther_above=0.2)
    frame.value -= frame.value[frame.treatment == "nearer"].mean()
    near = lambda control: evidence("zero", quantity="level", margin=0.5, controls=[{"treatment": control}])
    for control, expected in (("nearer", "holds weaker"), ("farther", "holds"), ("farther_above", "holds")):
        assert judged(frame, near(control)).verdict == expected, control


def test_as_far_on_the_other_side_is_not_nearer():
    """Both sides share most of their noise, so that their difference is known much better than their sum."""
    asked = evidence("zero", quantity="level", margin=0.5)
    further = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        shared = random.normal(0, 0.2, IMAGES)
        sides = {"hmc": -0.03, "other": 0.03}
        frame = pandas.concat(
            pandas.DataFrame({"treatment": name, "seed": 0, "image": range(IMAGES),
                              "value": level + shared + random.normal(0, 0.02, IMAGES)})
            for name, level in sides.items()
        )  # fmt: skip
        further += Number(asked, {"t": frame}).advantage({"treatment": "other"}).low > 0
    assert further <= 4


def test_ranks_may_have_to_be_nearer_to_zero():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, IMAGES))
    sides = {"hmc": x[1], "other": -x[0] + 0.1 * x[1], "like": x[1] + 1e-9 * x[0]}
    frame = pandas.concat(
        pandas.DataFrame({"treatment": n, "seed": 0, "image": range(IMAGES), "value": x[0], "twin": y})
        for n, y in sides.items()
    )  # fmt: skip
    for quantity in ("correlation", "association"):
        number = Number(evidence("zero", quantity=quantity, other="twin"), {"t": frame.assign(width=frame.image)})
        assert number.advantage({"treatment": "other"}).low > 0
        assert number.advantage({"treatment": "like"}).low < 0


@pytest.mark.parametrize("expect", ["negative", "not above"])
def test_what_is_to_be_low_must_be_lower_than_a_control(expect):
    frame = table(base=0.0, hmc=-0.2, lower=-0.3, higher=-0.1)
    for control, expected in (("lower", "holds weaker"), ("higher", "holds")):
        assert judged(frame, evidence(expect, controls=[{"treatment": control}])).verdict == expected


def test_the_test_is_of_the_side_that_is_claimed():
    level = np.where(np.arange(IMAGES) < IMAGES // 5, 0.4, -0.03)  # a mean above zero, most images below
    frame = table(base=0.0, hmc=level)
    up, down = (estimate(evidence(expect), {"t": frame}) for expect in ("positive", "negative"))
    assert up.low > 0
    assert up.p > 0.95
    assert down.p < 0.05
    (found,) = judged(frame, evidence()).findings
    assert found.verdict == "does not hold"
    assert "not clear after Holm's correction" in found.why


def test_what_expects_zero_does_not_correct_the_rest():
    level = np.where(np.arange(IMAGES) % 11 < 7, 0.02, -0.02)
    frame = table(base=0.0, hmc=level)
    p = estimate(evidence(), {"t": frame}).p
    assert 0.05 / 5 < p < 0.05
    zero = evidence("zero", margin=1.0)
    assert judged(frame, evidence(), zero, zero, zero, zero).findings[0].verdict == "holds"
    assert judged(frame, *[evidence()] * 5).findings[0].verdict == "does not hold"


def test_sizes_of_other_networks_are_shown_and_not_judged():
    frame = table(base=0.0, hmc=0.1)
    assert judged(frame, evidence(paper=0.9)).verdict == "holds weaker"
    assert judged(frame, evidence(paper=0.9, comparable=False)).verdict == "holds"


def test_a_gap_is_between_two_columns_of_a_row():
    frame = table(hmc=0.0).assign(clean=lambda t: t.value + 0.3)
    found = estimate(evidence(quantity="gap", other="clean"), {"t": frame})
    assert (found.value, found.low, found.high) == pytest.approx((-0.3, -0.3, -0.3))


def test_a_column_may_be_in_units_of_another():
    frame = table(hmc=1.0).assign(size=2.0)
    frame.loc[:9, "size"] = 0.0
    found = estimate(evidence(quantity="level", per="size"), {"t": frame})
    assert found.images == IMAGES - 10
    assert found.value == pytest.approx(frame.value[10:].mean() / 2)


def networks(**more):
    """Ten settings with four nearly equal networks each: accuracy and robustness rise together."""
    random, rows = np.random.default_rng(0), []
    for setting in range(10):
        accuracy, robustness = setting / 10, setting / 10 + random.normal(0, 0.3)
        for member in range(4):
            near = random.normal(0, 0.001, 2)
            values = {"accuracy": accuracy + near[0], "robustness": robustness + near[1]}
            rows.append({"treatment": "sgd", "seed": 0, "width": setting, "member": member} | values)
    return pandas.DataFrame(rows)


def test_networks_of_one_setting_are_resampled_together():
    asked = evidence(quantity="association", column="accuracy", other="robustness", where={"treatment": "sgd"})
    frame = networks()
    whole = estimate(asked, {"t": frame})
    apart = estimate(asked, {"t": frame.assign(width=range(len(frame)))})
    assert whole.value == apart.value
    assert whole.high - whole.low > 1.5 * (apart.high - apart.low)


def of_two_sizes():
    """Accuracy and robustness rise together at either size of the data; more data make networks accurate and weak."""
    frame, more = networks(), networks()
    more = more.assign(accuracy=more.accuracy + 2, robustness=more.robustness - 2).iloc[:24]
    return pandas.concat([frame.assign(train=500), more.assign(train=2000)])


def test_networks_are_compared_within_groups():
    from scipy.stats import spearmanr

    asked = evidence(quantity="association", column="accuracy", other="robustness", where={"treatment": "sgd"})
    frame = of_two_sizes()
    pooled, within = (estimate(asked.model_copy(update={"within": w}), {"t": frame}) for w in ("", "train"))
    own = [spearmanr(g.accuracy, g.robustness).statistic for _, g in frame.groupby("train")]
    assert pooled.value < 0 < within.low
    assert within.value == pytest.approx((40 * own[0] + 24 * own[1]) / 64)
    assert (within.images, within.low < within.value < within.high) == (64, True)
    with pytest.raises(NotThere, match="only 2 settings of networks"):
        estimate(asked.model_copy(update={"within": "train"}), {"t": frame.iloc[:48]})
    with pytest.raises(NotThere, match="no column 'depth'"):
        estimate(asked.model_copy(update={"within": "depth"}), {"t": frame})


def test_rows_may_have_to_exceed_a_value():
    asked = evidence(
        quantity="association", column="accuracy", other="robustness", where={"treatment": "sgd"},
        above={"accuracy": 0.45},
    )  # fmt: skip
    assert estimate(asked, {"t": networks()}).images == 20
    with pytest.raises(NotThere, match="only 1 settings of networks"):
        estimate(asked.model_copy(update={"above": {}}), {"t": networks().assign(width=3)})
    with pytest.raises(NotThere, match="only 0 such rows"):
        estimate(asked.model_copy(update={"above": {"accuracy": 2.0}}), {"t": networks()})
