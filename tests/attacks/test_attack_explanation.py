"""Attacks on explanations: that the maps really move, within the budget, and that the self-test is not fooled."""

from itertools import pairwise

import pytest
import torch
from trained_prototypes import gradient_map, relevance_map, trained

from holdfast.attacks import (
    attack_explanation,
    away,
    mass_centre,
    overlap,
    overlap_below,
    random_noise,
    target_map,
    target_region,
    top_k,
)
from holdfast.attacks.explanation_objectives import top_pixels
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.explanations import saliency


@pytest.fixture(scope="module")
def case():
    return trained()


@pytest.mark.parametrize("explain", [gradient_map, relevance_map])
def test_top_pixels_move_further_than_under_noise_of_the_same_size(case, explain):
    ensemble, x = case
    y, budget = ensemble.predict(x), Budget("linf", [0.03, 0.06])
    result = attack_explanation(
        ensemble,
        x,
        y,
        explain=explain,
        objective=overlap(20),
        budget=budget,
        criterion=overlap_below(20, 0.7),
        steps=40,
    )
    assert result.self_test.passed, result.self_test.sentence
    assert bool(result.label_kept.all())
    clean = explain(ensemble, x.clone().requires_grad_(), y).mean(0).detach()
    torch.testing.assert_close(result.clean_maps, clean)
    kept = lambda maps: (top_pixels(maps, 20) & top_pixels(clean, 20)).double().sum(1) / 12
    noise = random_noise(ensemble, x, y, budget=budget)
    for e in range(2):
        under_noise = explain(ensemble, noise.images[e].clone().requires_grad_(), y).mean(0).detach()
        assert kept(result.maps[e]).mean() < kept(under_noise).mean() - 0.1
        torch.testing.assert_close(
            result.maps[e], explain(ensemble, result.images[e].clone().requires_grad_(), y).mean(0).detach()
        )
        assert torch.equal(result.success[e], kept(result.maps[e]) < 0.7)
    assert bool((result.objective_after >= result.objective_before).all())
    assert result.objective_after[1].mean() > result.objective_after[0].mean()


@pytest.mark.parametrize("objective", ["map", "region", "centre", "away", "top_k"])
def test_every_objective_rises(case, objective):
    ensemble, x = case
    y = ensemble.predict(x)
    maps = saliency(ensemble, x, y).mean(0)
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[:3, :3] = True
    chosen = {
        "map": target_map(maps.roll(1, 0)), "region": target_region(region), "centre": mass_centre(), "away": away(),
        "top_k": top_k(20),
    }[objective]  # fmt: skip
    result = attack_explanation(
        ensemble, x, y, explain=lambda e, x, y: saliency(e, x, y, create_graph=True), objective=chosen,
        budget=Budget("l2", 0.5), steps=30, beta=(5.0, 100.0),
    )  # fmt: skip
    assert result.self_test.value >= 0.9
    assert bool(result.label_kept.all())
    gain = (result.objective_after - result.objective_before).mean()
    assert gain > {"map": 0.1, "region": 0.03, "centre": 0.1, "away": 0.1, "top_k": 0.03}[objective]


@pytest.mark.parametrize("epsilons", [[0.04, 0.05, 0.06, 0.07], [0.07, 0.05, 0.06, 0.04]])
@pytest.mark.parametrize("constraint", ["projection", "none"])
def test_success_never_falls_with_the_radius(case, epsilons, constraint):
    ensemble, x = case
    given = dict(explain=gradient_map, objective=top_k(20), criterion=overlap_below(20, 0.7), constraint=constraint)
    found = attack_explanation(
        ensemble, x, ensemble.predict(x), budget=Budget("linf", epsilons), steps=2, n_restarts=1, beta=5.0, **given
    )
    order = sorted(range(4), key=epsilons.__getitem__)
    for small, large in pairwise(order):
        assert bool((found.success[small] <= found.success[large]).all())
    assert 0 < found.success.double().mean() < 1
    for e in range(4):  # what is said of the images is so
        y = ensemble.predict(found.images[e])
        maps = gradient_map(ensemble, found.images[e].clone().requires_grad_(), found.clean_predicted).mean(0).detach()
        torch.testing.assert_close(found.maps[e], maps)
        torch.testing.assert_close(found.objective_after[e], top_k(20)(maps, found.clean_maps, None))
        kept = overlap_below(20, 0.7)(maps, found.clean_maps, None)
        assert torch.equal(found.success[e], kept & (y == found.clean_predicted))
        assert torch.equal(found.predicted[e], y)


def test_what_met_the_criterion_on_the_way_is_not_given_up_for_a_higher_objective(case):
    ensemble, x = case
    met = torch.zeros(len(x), dtype=torch.bool)
    highest = torch.full((len(x),), -torch.inf)

    def objective(maps, clean, images):
        value = away()(maps, clean, images)
        if not maps.requires_grad:  # maps of the network itself, not of its smoothed copy
            torch.maximum(highest, value, out=highest)
        return value

    def criterion(maps, clean, images):
        found = overlap_below(20, 0.6)(maps, clean, images)
        met.logical_or_(found)
        return found

    found = attack_explanation(
        ensemble, x, ensemble.predict(x), explain=gradient_map, objective=objective, criterion=criterion,
        budget=Budget("linf", 0.05), steps=20, beta=20.0,
    )  # fmt: skip
    assert 0 < met.double().mean() < 1
    assert torch.equal(found.success[0], met)
    assert bool((found.objective_after[0] < highest)[met].any())  # for which something higher was passed over


def test_posterior_mean_of_several_draws_and_repeatability():
    ensemble, x = trained(draws=3)
    y = ensemble.predict(x)
    given = dict(explain=relevance_map, objective=overlap(20), budget=Budget("linf", 0.05), steps=10)
    first = attack_explanation(ensemble, x, y, **given)
    assert first.maps.shape == (1, 15, 1, 8, 8)
    assert first.self_test.passed
    state = torch.get_rng_state()
    again = attack_explanation(ensemble, x, y, **given)
    assert torch.equal(first.images, again.images)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first.images, attack_explanation(ensemble, x, y, seed=1, **given).images)
    small = attack_explanation(ensemble, x, y, memory=1 << 20, **given)
    assert bool(small.label_kept.all())
    torch.testing.assert_close(small.objective_after, first.objective_after, rtol=0, atol=0.1)


def test_later_starts_follow_the_variants_of_an_objective(case):
    ensemble, x = case
    asked = {"first": 0, "second": 0}

    def counted(name):
        plain = top_k(20)

        def objective(maps, clean, images):
            asked[name] += maps.requires_grad
            return plain(maps, clean, images)

        return objective

    objective = counted("first")
    objective.variants = (counted("second"),)
    given = dict(explain=relevance_map, objective=objective, budget=Budget("linf", 0.03), steps=2, beta=None)
    for n_restarts, expected in ((2, (8, 0)), (3, (8, 4)), (5, (12, 8))):  # two steps and twice in the self-test
        asked.update(first=0, second=0)
        attack_explanation(ensemble, x, ensemble.predict(x), n_restarts=n_restarts, **given)
        assert tuple(asked.values()) == expected


@pytest.mark.parametrize("constraint", ["projection", "penalty", "none"])
def test_constraints(case, constraint):
    ensemble, x = case
    y = ensemble.predict(x)
    result = attack_explanation(
        ensemble, x, y, explain=gradient_map, objective=away(), budget=Budget("linf", 0.6), steps=20,
        constraint=constraint, beta=20.0,
    )  # fmt: skip
    if constraint == "none":
        assert not bool(result.label_kept.all())  # within this radius decisions would change if they were let
    else:
        assert bool(result.label_kept.all())
        assert result.self_test.passed


def detached(ensemble, x, y):
    """As in the published code: values of the map, derivatives of nothing."""
    return gradient_map(ensemble, x, y).detach() + 0 * x


def grain(ensemble, x, y):
    """The values of the map, the derivative of a hundredth of the image."""
    return relevance_map(ensemble, x, y).detach() + 0.01 * x


def of_another_network(ensemble, x, y):
    """The values of the map, the derivatives of another network's."""
    other = Ensemble(ensemble.network, {k: v.roll(1, -1) for k, v in ensemble.weights.items()})
    theirs = relevance_map(other, x, y)
    return relevance_map(ensemble, x, y).detach() + theirs - theirs.detach()


@pytest.mark.parametrize("objective", [top_k(20), overlap(20)])
@pytest.mark.parametrize("explain", [detached, grain, of_another_network, gradient_map, relevance_map])
@pytest.mark.parametrize("draws", [1, 3])
def test_the_self_test_catches_derivatives_of_something_else(explain, objective, draws):
    ensemble, x = trained(draws)
    given = dict(explain=explain, objective=objective, budget=Budget("linf", [0.03, 0.06]), steps=3)
    result = attack_explanation(ensemble, x, ensemble.predict(x), **given)
    followed = result.masking.figures["derivative_followed"]
    if explain in (gradient_map, relevance_map):
        assert followed > 0.9
        assert result.self_test.passed, result.self_test.sentence
    else:
        assert followed < 0.5
        assert not result.self_test.passed
        assert "the attack did not work" in result.self_test.sentence


def test_bad_input(case):
    ensemble, x = case
    y = ensemble.predict(x)
    given = dict(objective=top_k(20), budget=Budget("linf", 0.1), steps=2, beta=None)
    with pytest.raises(ValueError, match=r"attack_explanation: the maps do not depend differentiably .*create_graph"):
        attack_explanation(ensemble, x, y, explain=lambda e, x, y: gradient_map(e, x, y).detach(), **given)
    with pytest.raises(ValueError, match=r"explain must return maps \[s, b, \*image\], got \(15, 1, 8, 8\)"):
        attack_explanation(ensemble, x, y, explain=lambda e, x, y: gradient_map(e, x, y)[0], **given)
    with pytest.raises(ValueError, match="constraint must be 'projection', 'penalty' or 'none', got 'hope'"):
        attack_explanation(ensemble, x, y, explain=gradient_map, constraint="hope", **given)
    with pytest.raises(ValueError, match=r"attack_explanation: labels must lie in 0\.\.9"):
        attack_explanation(ensemble, x, y + 10, explain=gradient_map, **given)
    with pytest.raises(ValueError, match="k=1 percent of 64 pixels is less than one pixel; use a larger k"):
        attack_explanation(ensemble, x, y, explain=gradient_map, **given | {"objective": top_k(1)})
