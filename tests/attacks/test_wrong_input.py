"""What a caller may hand in by mistake: one clear error that says what came and what to do."""

import functools

import pytest
import torch

from holdfast.attacks import (
    as_module,
    attack_explanation,
    auto_pgd,
    auto_pgd_targeted,
    away,
    carlini_wagner,
    fgsm,
    in_parts,
    masking_report,
    minimal_norm,
    nearest_boundary,
    noisy_copies,
    pgd,
    random_noise,
    square,
    target_map,
    target_region,
    top_k,
    transfer,
    transfer_table,
    worst_case,
)
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.explanations import gradient_times_input

BUDGET = Budget("linf", 0.1)


@pytest.fixture
def case():
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 4))
    x = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    return Ensemble.from_networks(network), x, torch.tensor([0, 1, 2, 3, 0])


@pytest.mark.parametrize("attack", [pgd, fgsm, square, worst_case, masking_report, carlini_wagner, minimal_norm])
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


def maps(ensemble, x, y):
    return gradient_times_input(ensemble, x, y, create_graph=True)


def moved_map(ensemble, x, y, **settings):
    return attack_explanation(ensemble, x, y, explain=maps, objective=top_k(25), beta=None, **settings)


def boundary(ensemble, x, y, budget, **settings):
    return nearest_boundary(ensemble, x, y, **settings)


def copies(ensemble, x, y, budget, **settings):
    return noisy_copies(ensemble, x.shape[1:], spread=0.1, **settings)


def shown(ensemble, x, y, budget, **settings):
    return transfer(fgsm(ensemble, x, y, budget=budget), ensemble, x, y, **settings)


def table(ensemble, x, y, budget, **settings):
    return transfer_table({"a": fgsm(ensemble, x, y, budget=budget)}, {"a": ensemble}, x, y, **settings)


SEEDED = {
    f.__name__: f for f in (pgd, auto_pgd, auto_pgd_targeted, random_noise, square, worst_case, masking_report)
} | {"attack_explanation": moved_map, "nearest_boundary": boundary, "noisy_copies": copies}
BOUNDED = {f.__name__: f for f in (fgsm, minimal_norm, carlini_wagner)} | SEEDED
BOUNDED |= {"transfer": shown, "transfer_table": table}
del BOUNDED["noisy_copies"]


@pytest.mark.parametrize("name", SEEDED)
@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        ("a", TypeError, "seed must be a whole number, got 'a'"),
        (1.5, TypeError, r"seed must be a whole number, got 1\.5"),
        (None, TypeError, "seed must be a whole number, got None"),
        (True, TypeError, "seed must be a whole number, got True"),
        (2**70, ValueError, "seed must lie in"),
    ],
)
def test_seeds_are_whole_numbers(case, name, seed, error, message):
    with pytest.raises(error, match=f"{name}: {message}"):
        SEEDED[name](*case, budget=BUDGET, seed=seed)


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize(("memory", "error"), [(0, ValueError), (-5, ValueError), ("1GB", TypeError), (1e9, TypeError)])
def test_memory_is_a_number_of_bytes(case, name, memory, error):
    call = name.removesuffix("_table")
    budget = Budget("l2", 0.1) if name == "carlini_wagner" else BUDGET
    with pytest.raises(
        error, match=rf"{call}: memory must be a whole number of bytes, at least 1, got {memory!r}; 1 GiB"
    ):
        BOUNDED[name](*case, budget=budget, memory=memory)


def test_memory_of_an_ensemble_is_a_number_of_bytes(case):
    ensemble, x, _ = case
    for call in (ensemble.logits, ensemble.log_predictive, ensemble.predict):
        with pytest.raises(ValueError, match="Ensemble: memory must be a whole number of bytes, at least 1, got 0"):
            call(x, memory=0)


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


@pytest.mark.parametrize("attack", [fgsm, pgd, auto_pgd, carlini_wagner])
@pytest.mark.parametrize(
    "objective",
    [
        lambda z, y: torch.zeros(len(y)),
        lambda z, y: z.detach()[0, :, 0],
        lambda z, y: (z.argmax(-1) != y).double().mean(0),
    ],
)
def test_an_objective_without_a_derivative(case, attack, objective):
    budget = Budget("l2", 0.1) if attack is carlini_wagner else BUDGET
    with pytest.raises(
        ValueError, match=f"{attack.__name__}: the objective does not depend differentiably on the logi"
    ):
        attack(*case, budget=budget, objective=objective)


def test_the_objective_of_a_search_without_gradients(case):
    with pytest.raises(ValueError, match=r"square: the objective must return one value per image, \(5,\), got \(\)"):
        square(*case, budget=BUDGET, objective=lambda z, y: z.sum(), early_stop=False)
    found = square(*case, budget=BUDGET, objective=lambda z, y: (z.argmax(-1) != y).double().mean(0), queries=3)
    assert found.name == "square"  # it needs no derivative


def test_labels_that_the_network_does_not_have(case):
    ensemble, x, y = case
    with pytest.raises(
        ValueError, match=r"nearest_boundary: labels must lie in 0\.\.3 for 4 classes, got values from 1"
    ):
        nearest_boundary(ensemble, x, y + 1)


def test_transfer_to_fewer_classes(case):
    ensemble, x, y = case
    other = Ensemble.from_networks(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)))
    with pytest.raises(ValueError, match=r"transfer: labels must lie in 0\.\.2 for 3 classes"):
        transfer(fgsm(ensemble, x, y, budget=BUDGET), other, x, y)


def test_only_an_ensemble_becomes_a_module_or_judges_images(case):
    ensemble, x, y = case
    with pytest.raises(TypeError, match="as_module: expected an Ensemble, got Sequential"):
        as_module(ensemble.network)
    with pytest.raises(TypeError, match="transfer: expected an Ensemble, got Sequential"):
        transfer(fgsm(ensemble, x, y, budget=BUDGET), ensemble.network, x, y)


def module_objective(logits, y):
    return logits.mean(0).gather(-1, y[:, None])[:, 0].neg()


def test_parts_are_found_again_by_name_only(case, tmp_path):
    given = dict(folder=tmp_path, budget=BUDGET, steps=2)
    with pytest.raises(ValueError, match="in_parts: objective is a function made on the spot"):
        in_parts(pgd, *case, objective=lambda z, y: module_objective(z, y), **given)
    in_parts(pgd, *case, objective=module_objective, **given)
    with pytest.raises(ValueError, match="in_parts: attack_explanation attacks explanations"):
        in_parts(attack_explanation, *case, explain=gradient_times_input, objective=top_k(20), **given)


def test_parts_need_a_function_and_an_ensemble(case, tmp_path):
    ensemble, x, y = case
    with pytest.raises(TypeError, match="in_parts: attack must be a function of this room, such as worst_case, got "):
        in_parts("pgd", *case, folder=tmp_path, budget=BUDGET)
    with pytest.raises(TypeError, match="in_parts: expected an Ensemble, got Sequential"):
        in_parts(pgd, ensemble.network, x, y, folder=tmp_path, budget=BUDGET)


def test_objectives_without_a_name(case):
    made = pgd(*case, budget=BUDGET, steps=2, objective=functools.partial(module_objective))
    assert made.settings["objective"] == "partial"
    assert torch.equal(made.images, pgd(*case, budget=BUDGET, steps=2, objective=module_objective).images)
    with pytest.raises(ValueError, match=r"pgd: no objective named \['margin'\]"):
        pgd(*case, budget=BUDGET, objective=["margin"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(others=[1]), "others must map names to ensembles, got list"),
        (dict(attacked=[1]), "attacked must map names to results of attacks, got list"),
        (dict(attacked={"one_step": torch.ones(5)}), "expected the result of an attack, such as fgsm.*, got Tensor"),
    ],
)
def test_masking_report_takes_names(case, settings, message):
    with pytest.raises(TypeError, match=f"masking_report: {message}"):
        masking_report(*case, budget=BUDGET, steps=2, **settings)


class Faulty(torch.nn.Module):
    def __init__(self, fault):
        super().__init__()
        self.inner, self.fault = torch.nn.Linear(12, 4), fault

    def forward(self, x):
        return self.fault(self.inner(x.flatten(1)))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda z: z * torch.nan, "the ensemble gives NaN or infinite log probabilities on the clean images"),
        (lambda z: z[:, :1], r"must return logits \[B, C\] of at least two classes, got \(5, 1\) for 5 images"),
    ],
)
@pytest.mark.parametrize("call", [pgd, masking_report])
def test_networks_that_answer_nonsense(case, call, fault, message):
    with pytest.raises(ValueError, match=f"{call.__name__}: .*{message}"):
        call(Ensemble.from_networks(Faulty(fault)), case[1], torch.zeros(5).long(), budget=BUDGET)


def test_transfer_is_of_a_result_and_of_its_own_images(case):
    ensemble, x, y = case
    with pytest.raises(TypeError, match=r"transfer: expected the result of an attack, such as fgsm.*, got Tensor"):
        transfer(x, ensemble, x, y)
    with pytest.raises(ValueError, match="transfer: `attacked` was made on other images than `x`"):
        transfer(fgsm(ensemble, x, y, budget=BUDGET), ensemble, x.flip(0), y)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (dict(objective="top_k"), TypeError, "objective must be a function, such as top_k"),
        (dict(criterion="overlap"), TypeError, "criterion must be a function"),
        (dict(objective=lambda m, clean, images: m.sum()), ValueError, r"one value per image, \(5,\), got \(\)"),
        (
            dict(objective=lambda m, clean, images: torch.zeros(len(m))),
            ValueError,
            "not depend differentiably on the maps",
        ),
        (dict(objective=lambda m, clean, images: m.detach().flatten(1).sum(1)), ValueError, "constant or detached"),
        (
            dict(objective=away(), criterion=lambda m, clean, images: True),
            ValueError,
            r"criterion must return one .* \(5,\), got bool",
        ),
        (
            dict(objective=away(), criterion=lambda m, clean, images: (m > 0).any()),
            ValueError,
            r"one value .* got \(\)",
        ),
        (dict(explain=gradient_times_input), ValueError, r"explain must keep the graph \(create_graph=True"),
        (dict(beta="x"), ValueError, "beta must be a number, a pair of them, None or 'auto', got 'x'"),
        (dict(beta=(1.0, 2.0, 3.0)), ValueError, "beta must be a number, a pair of them"),
        (dict(beta=(0.0, 2.0)), ValueError, r"beta must lie in \(0, "),
        (dict(objective=target_map(torch.ones(3, 5, 5))), ValueError, r"target has the shape \(3, 5, 5\), the maps"),
        (dict(objective=target_map(torch.ones(2, 3, 2, 2))), ValueError, "one for each image, got 2 for at least 5"),
        (dict(objective=target_region(torch.ones(3, 3) > 0)), ValueError, "9 pixels per image, the maps 4"),
    ],
)
def test_attacks_on_explanations(case, settings, error, message):
    given = dict(explain=maps, objective=top_k(20), budget=BUDGET, steps=2, beta=None) | settings
    with pytest.raises(error, match=message):
        attack_explanation(*case, **given)
