"""What a number of a claim is, in words: every claim's, whole, with the draws that there were."""

import re

import pytest
from synthetic_reproduction import make_reproduction, make_study

from holdfast.report.figures.canvas import wrap
from holdfast.report.studies import forest
from holdfast.report.studies.draws import draws_here, draws_of_panels
from holdfast.report.studies.evidence import axis_in_words, number_in_words
from holdfast.studies.reproduce.claim import claims
from holdfast.studies.reproduce.study import study_of
from holdfast.studies.reproduce.verdict import Finding, Judgement

PIECES = {c.id: [one for e in c.evidence for one in e.each()] for c in claims().values()}


@pytest.mark.parametrize("claim", [name for name, own in PIECES.items() if own])
def test_every_number_of_every_claim_has_words(claim):
    for evidence in PIECES[claim]:
        words = number_in_words(evidence, {10: 5, 50: 10, 100: 20, 250: 20})
        assert words.endswith(f"({evidence.study})")
        assert not re.search(r"[{}_]|, ,|: ,|\bvalue\b|  ", words), words
        assert axis_in_words(evidence)


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ("BE-C2", "k-LRP: adversarially trained minus deterministic, FGSM"),
        ("GA-C5", "accuracy under attack minus clean accuracy: HMC"),
        ("GA-C6", "accuracy under attack: HMC, FGSM minus random noise"),
        ("BA-C2", "ℓ2 distance: robust minus standard, saliency and BSM; CIFAR-10"),
        ("BA-C4", "Loc.: standard, BIG minus IG from black"),
        ("TH-C7", "ℓ2 norm of the mean over draws: HMC, gradient of the log predictive minus gradient of the loss"),
    ],
)
def test_the_words_say_what_was_compared(claim, words):
    assert number_in_words(PIECES[claim][0]).startswith(words)


def test_draws_are_the_scales_or_all_that_were_fitted():
    mnist, _, cifar = study_of("BE-F3").panels
    assert draws_here(study_of("BE-F3"), mnist, "laptop") == {10: 5, 50: 10, 100: 20, 250: 20}
    assert draws_here(study_of("BE-F3"), cifar, "laptop") == {10: 5, 50: 10, 100: 10, 250: 10}
    assert draws_here(study_of("BE-F3"), mnist, "paper") == {100: 100}
    here = draws_of_panels(make_reproduction((make_study("BE-F3", "differences", ("Own",)),), claims=[]))
    assert here("BE-F3", "Own")[100] == here("BE-F99", "nobody")[100] == 6


@pytest.mark.parametrize("claim", [name for name, own in PIECES.items() if own])
def test_numbers_of_one_drawing_have_names_that_differ_though_they_are_cut(claim):
    findings = tuple(Finding(e, None, None, (), "untestable", "") for e in PIECES[claim])
    for kind in forest._kinds(Judgement(claims()[claim], findings, "untestable", "")):
        assert len({axis_in_words(f.evidence) for f in kind}) == 1  # which is written below all of them once
        _, names = forest._names(kind, lambda study, panel: {})
        drawn = [(wrap(name, forest.LABEL, 3), str(f.evidence.against)) for name, f in zip(names, kind, strict=True)]
        assert len(set(drawn)) == len(drawn), drawn
