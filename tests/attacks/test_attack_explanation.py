"""Attacks on explanations: objectives by hand, derivatives by finite differences, and that the maps really move."""

from functools import lru_cache
from itertools import pairwise

import pytest
import torch
from torch.func import functional_call

from holdfast.attacks import (
    attack_explanation,
    away,
    explanation_objectives,
    mass_centre,
    overlap,
    overlap_below,
    random_noise,
    smoothed,
    target_map,
    target_region,
    top_k,
)
from holdfast.attacks.attack_explanation import _Run
from holdfast.attacks.explanation_objectives import correlation, top_pixels
from holdfast.attacks.search import Search
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.explanations import AlphaBeta, Epsilon, Gamma, epsilon_gamma_box, lrp, saliency
from holdfast.scores import k_lrp
from holdfast.tiles import MEMORY


def gradient_map(ensemble, x, y):
    """Input gradients of the class scores, one draw at a time."""
    maps = []
    for s in range(len(ensemble)):
        weights = {k: v[s] for k, v in ensemble.weights.items()}
        score = functional_call(ensemble.network, weights, (x,)).gather(1, y[:, None]).sum()
        maps.append(torch.autograd.grad(score, x, create_graph=True)[0])
    return torch.stack(maps)


def relevance_map(ensemble, x, y):
    return lrp(ensemble, x, y, rule=Epsilon(0.1), create_graph=True)


@lru_cache
def trained(draws=1, dtype=torch.float32, smooth=False):
    """Networks fitted to ten prototypes of 8 x 8 pixels, and fifteen images of them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(10, 1, 4, 4, generator=generator)
    prototypes = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
    y = torch.arange(600) % 10
    x = (prototypes[y] + 0.1 * torch.randn(600, 1, 8, 8, generator=generator)).clamp(0, 1)
    networks = []
    for _ in range(draws):
        act = torch.nn.Tanh if smooth else torch.nn.ReLU
        layers = [torch.nn.Flatten(), torch.nn.Linear(64, 48), act(), torch.nn.Linear(48, 48), act()]
        network = torch.nn.Sequential(*layers, torch.nn.Linear(48, 10))
        with torch.no_grad():
            for p in network.parameters():
                p.copy_((p.ndim > 1) * torch.randn(p.shape, generator=generator) * (2 / p.shape[-1]) ** 0.5)
        optimiser = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(60):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()
        networks.append(network.to(dtype))
    return Ensemble.from_networks(networks), x[:15].to(dtype)


@pytest.fixture(scope="module")
def case():
    return trained()


def some_maps(seed=0, count=4):
    return torch.randn(count, 2, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


IMAGES = torch.arange(4)


def test_objectives_by_hand():
    maps, clean = some_maps(0), some_maps(1)
    region = some_maps(2)[:, 0] > 0
    goal = some_maps(3)
    found = {
        "top_k": top_k(20)(maps, clean, IMAGES),
        "region": target_region(region)(maps, clean, IMAGES),
        "centre": mass_centre()(maps, clean, IMAGES),
        "map": target_map(goal)(maps, clean, IMAGES),
        "away": away()(maps, clean, IMAGES),
    }
    for i in range(4):
        now, before, aim = (m[i].sum(0).flatten() for m in (maps, clean, goal))
        share, old = now.abs() / now.abs().sum(), before.abs() / before.abs().sum()
        top = before.abs().sort(descending=True).indices[:6]
        centre = lambda w: [sum(float(v) * (i // 6, i % 6)[k] for i, v in enumerate(w)) for k in (0, 1)]
        moved = sum((a - b) ** 2 for a, b in zip(centre(share), centre(old), strict=True)) ** 0.5
        pearson = lambda a, b: float(torch.corrcoef(torch.stack([a, b]))[0, 1])
        assert float(found["top_k"][i]) == pytest.approx(-float(share[top].sum()))
        assert float(found["region"][i]) == pytest.approx(float(share[region[i].flatten()].sum()))
        assert float(found["centre"][i]) == pytest.approx(moved, abs=1e-6)
        assert float(found["map"][i]) == pytest.approx(pearson(now, aim))
        assert float(found["away"][i]) == pytest.approx(-pearson(now, before))


def test_overlap_becomes_the_overlap_when_it_is_sharp():
    maps, clean = some_maps(0), some_maps(1)
    assert int(top_pixels(maps, 30)[0].sum()) == 9
    exact = (top_pixels(maps, 30) & top_pixels(clean, 30)).sum(1) / 9
    torch.testing.assert_close(exact.double(), k_lrp(clean, maps, k=30))
    torch.testing.assert_close(-overlap(30, width=1e-6)(maps, clean, IMAGES), exact.double())
    assert torch.equal(overlap_below(30, 0.5)(maps, clean, IMAGES), exact < 0.5)


@pytest.mark.parametrize("name", ["top_k", "overlap", "region", "centre", "map", "away"])
def test_objectives_by_finite_differences(name):
    clean = some_maps(1)
    objective = {
        "top_k": top_k(20),
        "overlap": overlap(20, width=2.0),
        "region": target_region(some_maps(2)[0, 0] > 0),
        "centre": mass_centre(),
        "map": target_map(some_maps(3)),
        "away": away(),
    }[name]
    if name == "overlap":  # half of the derivative of its threshold and scale
        t, top = some_maps(0).requires_grad_(), top_pixels(clean, 20)
        size = lambda maps: maps.sum(1).flatten(1).abs()
        cut = lambda maps: size(maps).sort(1, descending=True).values[:, 5:7].mean(1, keepdim=True)
        held = [v.detach() for v in (cut(t), 2 * size(t).std(1, keepdim=True))]

        def value(maps, share):
            threshold, scale = (
                share * own + (1 - share) * old
                for own, old in zip((cut(maps), 2 * size(maps).std(1, keepdim=True)), held, strict=True)
            )
            return -(torch.sigmoid((size(maps) - threshold) / scale) * top).sum(1) / 6

        torch.testing.assert_close(objective(t, clean, IMAGES), value(t, 1))
        (gradient,) = torch.autograd.grad(objective(t, clean, IMAGES).sum(), t)
        d = some_maps(5)
        numeric = (value(t + 1e-6 * d, 0.5) - value(t - 1e-6 * d, 0.5)).detach() / 2e-6
        torch.testing.assert_close((gradient * d).flatten(1).sum(1), numeric, rtol=1e-6, atol=1e-9)
        objective, held_fast = objective.variants
        (gradient,) = torch.autograd.grad(held_fast(t, clean, IMAGES).sum(), t)
        assert bool(((gradient.sum(1).flatten(1) != 0) <= top).all())
        torch.testing.assert_close(objective(t, clean, IMAGES), value(t, 1))
    assert torch.autograd.gradcheck(lambda m: objective(m, clean, IMAGES), some_maps(0).requires_grad_())


def other_rule(rule):
    return lambda ensemble, x, y: lrp(ensemble, x, y, rule=rule, create_graph=True)


@pytest.mark.parametrize(
    ("explain", "memory"),
    [
        (gradient_map, MEMORY),
        (gradient_map, 1 << 16),
        (relevance_map, MEMORY),
        (relevance_map, 1 << 16),
        (other_rule(Gamma(0.25)), MEMORY),
        (other_rule(AlphaBeta(2, 1)), MEMORY),
        (other_rule(epsilon_gamma_box(0.0, 1.0)), MEMORY),
    ],
)
def test_gradient_through_the_mean_map_by_finite_differences(explain, memory):
    ensemble, x = trained(draws=3, dtype=torch.float64, smooth=True)
    x = x[:4].clamp(0.05, 0.95)
    y = ensemble.predict(x)
    goal = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    search = Search("test", ensemble, x, y, budget=Budget("linf", 0.1), memory=memory)
    run = _Run(search, explain, target_map(goal), "none")
    gradient = run._gradient(ensemble, x)
    value = lambda x: target_map(goal)(explain(ensemble, x.requires_grad_(), y).mean(0), None, None).detach()
    generator = torch.Generator().manual_seed(2)
    for _ in range(5):
        d = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        numeric = (value(x + 1e-7 * d) - value(x - 1e-7 * d)) / 2e-7
        torch.testing.assert_close((gradient * d).flatten(1).sum(1), numeric, rtol=1e-5, atol=1e-7)


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


class Functional(torch.nn.Module):
    """The layers of `trained()`, their ReLUs called as functions, or as one module under two names."""

    def __init__(self, kind):
        super().__init__()
        self.linears = torch.nn.ModuleList([torch.nn.Linear(64, 48), torch.nn.Linear(48, 48), torch.nn.Linear(48, 10)])
        self.kind, self.first = kind, torch.nn.ReLU()
        self.second = self.first

    def forward(self, x):
        first, second = {
            "function": (torch.relu, torch.nn.functional.relu),
            "method": (torch.Tensor.relu, lambda z: torch.nn.functional.leaky_relu(z, 0.0)),
            "mixed": (self.first, torch.relu),
            "shared": (self.first, self.second),
            "in place": (self.first, torch.relu_),
        }[self.kind]
        return self.linears[2](second(self.linears[1](first(self.linears[0](x.flatten(1))))))


@pytest.mark.parametrize("kind", ["function", "method", "mixed", "shared"])
def test_every_way_to_write_a_relu_is_smoothed(kind):
    ensemble, x = trained(draws=2)
    weights = dict(zip(Functional(kind).state_dict(), ensemble.weights.values(), strict=True))
    other = Ensemble(Functional(kind).eval(), weights)
    y, expected = ensemble.predict(x), smoothed(ensemble, 3.0)
    torch.testing.assert_close(other.logits(x), ensemble.logits(x))
    torch.testing.assert_close(smoothed(other, 3.0).logits(x), expected.logits(x))
    for explain in (relevance_map, gradient_map):
        maps = [explain(e, x.clone().requires_grad_(), y) for e in (smoothed(other, 3.0), expected)]
        torch.testing.assert_close(*maps)
    assert set(smoothed(other, 3.0).network.state_dict()) == set(other.weights)


def test_what_cannot_be_smoothed_says_so_before_any_work():
    x, asked = torch.rand(4, 64), []
    given = dict(explain=lambda *given: asked.append(1), objective=top_k(20), budget=Budget("linf", 0.1))
    for network, message in (
        (Functional("in place"), "a ReLU as a function that changes its input in place; leave inplace out"),
        (torch.nn.Linear(64, 10), "found no ReLU or LeakyReLU to smooth; attack without smoothing"),
    ):
        ensemble = Ensemble.from_networks(network)
        with pytest.raises(ValueError, match=f"smoothed: .*{message}"):
            attack_explanation(ensemble, x, ensemble.predict(x), **given)
    assert not asked


def test_smoothed():
    ensemble, x = trained()
    sharp = smoothed(ensemble, 1e4)
    torch.testing.assert_close(sharp.logits(x), ensemble.logits(x), rtol=0, atol=1e-2)
    assert not torch.allclose(smoothed(ensemble, 1.0).logits(x), ensemble.logits(x), atol=1e-2)
    assert sharp.weights is ensemble.weights
    assert "ReLU" in repr(ensemble.network)
    leaky = Ensemble.from_networks(torch.nn.Sequential(torch.nn.LeakyReLU(0.1), torch.nn.Linear(3, 2)))
    z = torch.tensor([[-2.0, 0.0, 3.0]])
    torch.testing.assert_close(smoothed(leaky, 1e4).network[0](z), torch.tensor([[-0.2, 0.0, 3.0]]), rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match=r"smoothed: beta must lie in \(0"):
        smoothed(ensemble, 0)


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
    with pytest.raises(ValueError, match=r"top_k: k must lie in \(0, 100\]"):
        top_k(0)
    with pytest.raises(ValueError, match="k=1 percent of 64 pixels is less than one pixel; use a larger k"):
        attack_explanation(ensemble, x, y, explain=gradient_map, **given | {"objective": top_k(1)})
    with pytest.raises(TypeError, match="target_region: region must be a tensor of booleans"):
        target_region(torch.ones(8, 8))
    with pytest.raises(ValueError, match="target_region: the region holds no pixel"):
        target_region(torch.zeros(8, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"target_region: the mask has 6 pixels per image, the maps 64"):
        target_region(torch.ones(15, 2, 3, dtype=torch.bool))(
            some_maps()[:, :, :4].repeat(1, 1, 1, 3)[..., :16], None, IMAGES
        )
    assert explanation_objectives.correlation is correlation
