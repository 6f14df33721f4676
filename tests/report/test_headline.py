"""The headline says what the numbers say: more, fewer, unclear; and how much of it noise and averaging already give."""

import dataclasses

import numpy as np
import pytest

from holdfast.report.caveats import caveats
from holdfast.report.headline import headline
from holdfast.report.view import View
from synthetic_result import make_result

SETTINGS = {"epsilons": (0.1,), "rules": ("epsilon",), "layers": ("input",), "images": 30, "examples": 1}
BASE = make_result(**SETTINGS)


def spoken(ensemble="mean_field", base=BASE, **changes):
    """The headline after setting comparison values: `pgd=(mean, low, high, p_holm)`, `random_noise=...`."""
    table = base.comparisons.copy()
    for where, values in changes.items():
        name, attack = where.split("__") if "__" in where else (ensemble, where)
        rows = (table["ensemble"] == name) & (table["attack"] == attack) & (table["subset"] == "all")
        assert rows.sum() == 1
        table.loc[rows, ["mean_difference", "low", "high", "p_holm"]] = values
    result = dataclasses.replace(base, comparisons=table)
    said = headline(View(result))
    return said, said.sentence.replace("\xa0", " ").replace("\u202f", " "), dict(said.facts)


def test_a_clear_gain():
    said, sentence, _ = spoken(pgd=(0.08, 0.06, 0.10, 0.001))
    assert said.figure == "+0.08"
    assert said.verdict == "more"
    assert sentence == (
        "Under PGD of size 0.1 (ℓ∞), the mean-field posterior keeps 12 of 156 top-20 % pixels more than the "
        "deterministic network: +0.08 [+0.06, +0.10]; n = 30."
    )


def test_a_clear_loss():
    said, sentence, _ = spoken(pgd=(-0.08, -0.10, -0.06, 0.001))
    assert said.figure == "−0.08"
    assert said.verdict == "fewer"
    assert "keeps 12 of 156 top-20 % pixels fewer than the deterministic network: −0.08 [−0.10, −0.06]" in sentence


def test_what_is_not_clear_is_neither_gain_nor_equality():
    said, sentence, _ = spoken(pgd=(0.01, -0.02, 0.04, 0.8))
    assert said.verdict == "unclear"
    assert "these data do not tell whether" in sentence
    assert "more than" not in sentence
    assert "no difference" not in sentence


def test_an_interval_over_zero_is_not_clear_whatever_the_test_says():
    said, sentence, _ = spoken(pgd=(0.01, -0.001, 0.02, 0.001))
    assert said.verdict == "unclear"
    assert "these data do not tell whether" in sentence


def test_a_gain_that_the_correction_takes_back():
    said, sentence, _ = spoken(pgd=(0.02, 0.005, 0.035, 0.2))
    assert said.verdict == "unclear"
    assert "does not hold after correction for 9 comparisons (p = 0.200)" in sentence


def test_a_difference_below_one_pixel():
    _, sentence, _ = spoken(pgd=(0.002, 0.001, 0.003, 0.001))
    assert "keeps less than 1 of 156" in sentence


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        ((0.04, 0.02, 0.06, 0.001), "already gives"),
        ((0.09, 0.07, 0.11, 0.001), "as much or more"),
        ((-0.04, -0.06, -0.02, 0.001), "has the other sign"),
        ((0.01, -0.01, 0.03, 0.9), "the difference is not clear"),
    ],
)
def test_noise_of_the_same_size_is_set_against_it(noise, expected):
    _, _, facts = spoken(pgd=(0.08, 0.06, 0.10, 0.001), random_noise=noise)
    assert expected in facts["Random noise"]


def test_the_share_of_noise_is_a_percentage_of_the_difference():
    _, _, facts = spoken(pgd=(0.08, 0.06, 0.10, 0.001), random_noise=(0.04, 0.02, 0.06, 0.001))
    assert "50\u202f% of the difference" in facts["Random noise"]


def test_an_ensemble_that_does_as_well_is_named():
    alike = (0.07, 0.05, 0.09, 0.001)
    _, _, facts = spoken(pgd=(0.08, 0.06, 0.10, 0.001), deep_ensemble__pgd=alike)
    assert "does not show that a posterior is needed" in facts["Averaging alone"]
    _, _, facts = spoken(pgd=(0.08, 0.06, 0.10, 0.001), deep_ensemble__pgd=(0.01, 0.0, 0.02, 0.3))
    assert "does not account for all of it" in facts["Averaging alone"]


def test_failed_checks_and_warnings_are_beside_the_headline():
    _, _, facts = spoken()
    assert "1 of 5 masking checks failed (Mean-field posterior)" in facts["Attack strength"]
    assert "1 warning" in facts["Inference"]
    passed = BASE.checks.assign(passed=True)
    _, _, facts = spoken(base=dataclasses.replace(BASE, checks=passed))
    assert facts["Attack strength"].endswith("All 6 masking checks that were run passed.")


def test_what_the_attack_did_to_the_decisions_is_beside_the_headline():
    _, _, facts = spoken()
    cells = BASE.predictions[BASE.predictions["attack"] == "pgd"].groupby("ensemble")
    falls = [
        f"{100 * (part[c] == part['label']).mean():.0f}\u202f%"
        for part in (cells.get_group("mean_field"), cells.get_group("deterministic"))
        for c in ("clean_predicted", "predicted")
    ]
    a, b, c, d = falls
    sentence = (
        f"It takes the accuracy of the mean-field posterior from {a} to {b} and the deterministic network from {c} "
    )
    assert facts["Attack strength"].startswith(f"{sentence}to {d}.")


def test_no_checks_is_no_proof():
    _, _, facts = spoken(base=dataclasses.replace(BASE, checks=None))
    assert "not established" in facts["Attack strength"]


def test_without_a_named_comparison_the_strongest_attack_is_taken():
    view = View(dataclasses.replace(BASE, primary=None))
    assert (view.primary.ensemble, view.primary.attack, view.primary.epsilon) == ("mean_field", "pgd", 0.1)


def test_a_comparison_that_was_not_computed_falls_back_to_levels():
    table = BASE.comparisons.assign(mean_difference=np.nan, low=np.nan, high=np.nan)
    said = headline(View(dataclasses.replace(BASE, comparisons=table)))
    assert said.verdict == "alone"
    assert said.figure != "–"


def test_limits_name_what_this_run_shows():
    claims = " ".join(claim for claim, _ in caveats(View(BASE)))
    assert "equally good classifiers" in claims
    assert "exact posterior" in claims
    assert "other sizes" in claims
    assert "posterior is needed" not in claims
    pair = make_result(**SETTINGS, names=("deterministic", "mean_field"))
    assert "Not that a posterior is needed." in [claim for claim, _ in caveats(View(pair))]


def test_one_ensemble_alone_has_its_level_with_chance_and_noise():
    result = make_result(**SETTINGS, names=("deterministic",))
    said = headline(View(result))
    scores = result.scores
    pgd, noise = (scores.loc[scores["attack"] == a, "k_lrp"] for a in ("pgd", "random_noise"))
    half = 1.96 * pgd.std() / 30**0.5
    assert said.verdict == "alone"
    assert f"{pgd.mean():.2f} [{pgd.mean() - half:.2f}, {pgd.mean() + half:.2f}]" in said.sentence
    assert f"it is {noise.mean():.2f}" in dict(said.facts)["Random noise"]
    assert "0.45" in dict(said.facts)["Chance"]
