"""What a caller may hand in by mistake: one clear error that says what came and what to do."""

import pytest
import torch

from holdfast.attacks import fgsm, masking_report, pgd, square, transfer, worst_case
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble

BUDGET = Budget("linf", 0.1)


@pytest.fixture
def case():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    x = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    return Ensemble.from_networks(network), x, torch.tensor([0, 1, 2, 3, 0])


@pytest.mark.parametrize("attack", [pgd, fgsm, square, worst_case, masking_report])
def test_a_bare_network_or_a_bare_number(case, attack):
    ensemble, x, y = case
    name = attack.__name__
    with pytest.raises(
        TypeError, match=rf"{name}: expected an Ensemble, got Sequential; write Ensemble\.from_networks"
    ):
        attack(ensemble.network, x, y, budget=BUDGET)
    with pytest.raises(TypeError, match=rf"{name}: budget must be a Budget, got 0\.1; write Budget\('linf', 0\.1\)"):
        attack(ensemble, x, y, budget=0.1)


@pytest.mark.parametrize("name", ["steps", "n_restarts"])
def test_counts_are_whole_numbers(case, name):
    with pytest.raises(TypeError, match=rf"pgd: {name} must be a whole number, got 2\.5"):
        pgd(*case, budget=BUDGET, **{name: 2.5})


def test_labels_of_any_integer_type(case):
    ensemble, x, y = case
    expected = pgd(ensemble, x, y, budget=BUDGET, steps=3)
    assert torch.equal(pgd(ensemble, x, y.int(), budget=BUDGET, steps=3).images, expected.images)
    assert masking_report(ensemble, x, y.int(), budget=BUDGET, steps=3).figures["images"] == 5


@pytest.mark.parametrize(
    "network", [torch.nn.Conv2d(3, 2, 1), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 1))]
)
def test_what_is_no_classifier(case, network):
    with pytest.raises(
        ValueError, match=r"pgd: the network must return logits \[B, C\] of at least two classes, got \(5, "
    ):
        pgd(Ensemble.from_networks(network), case[1], torch.zeros(5).long(), budget=BUDGET)


@pytest.mark.parametrize("objective", [lambda z, y: z.sum(), lambda z, y: z[0], lambda z, y: 1.0])
def test_an_objective_that_is_not_one_value_per_image(case, objective):
    with pytest.raises(ValueError, match=r"pgd: the objective must return one value per image, \(5,\), got "):
        pgd(*case, budget=BUDGET, objective=objective)


def test_transfer_to_fewer_classes(case):
    ensemble, x, y = case
    other = Ensemble.from_networks(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)))
    with pytest.raises(ValueError, match=r"transfer: labels must lie in 0\.\.2 for 3 classes"):
        transfer(fgsm(ensemble, x, y, budget=BUDGET), other, x, y)
