"""How many images figures rest on, from the cells that compute them."""

from holdfast.report.studies.sizes import images_tested, images_trained
from holdfast.studies.reproduce.plan import plan
from holdfast.studies.reproduce.study import studies, study_of


def of(scale, *names):
    return plan([study_of(name) for name in names] or studies().values(), scale)


def test_every_figure_with_other_test_images_is_named_once():
    words = images_tested(of("laptop"), 200)
    assert words.startswith("200; ")
    for said in ("40 in BA-F9 (Tiny ImageNet)", "BE-F3 (CIFAR-10)", "paper BA", "120 in BA-F10"):
        assert words.count(said) == 1
    assert images_tested(of("laptop", "BE-F2"), 200) == "200"
    assert images_tested(of("smoke", "BA-F3", "TH-1"), 20) == "20; 12 in paper BA; 40 in paper TH"


def test_parts_of_the_training_images_are_named():
    words = images_trained(of("laptop"), None)
    assert words.startswith("all; ")
    assert "30,000 in parts of 2000 for HMC as published" in words
    assert "500 to 10,000 in GA-F4" in words
    assert "TH-3 (Translations)" in words
    assert images_trained(of("laptop", "BA-F3"), None) == "all"  # networks that are given


def test_two_exceptions_of_a_treatment_name_their_papers():
    words = images_trained(of("paper"), None)
    assert "all in parts of 4000 for HMC as published in paper BE; " in words
    assert "all in parts of 5000 for HMC as published in paper GA; " in words


def test_nothing_is_said_of_nothing():
    assert images_tested([], 200) == "200"
    assert images_trained([], None) == "all"
