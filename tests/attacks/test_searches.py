"""What every search must do: keep its budget, repeat itself, ignore chunks, know linear models, say what is wrong."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import attacks
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble

QUICK = {
    "fgsm": {},
    "pgd": dict(steps=8, n_restarts=2),
    "random_noise": {},
    "auto_pgd": dict(steps=10),
    "auto_pgd_targeted": dict(steps=5, n_target_classes=2),
    "carlini_wagner": dict(steps=10, binary_search_steps=3),
    "minimal_norm": dict(steps=10),
    "square": dict(queries=20),
    "worst_case": dict(steps=5, n_target_classes=2, queries=10),
}
SEEDED = {"pgd", "random_noise", "auto_pgd", "auto_pgd_targeted", "square", "worst_case"}
TARGETED = ["fgsm", "pgd", "random_noise", "auto_pgd", "carlini_wagner", "square"]
NORMS = {"linf": [0.02, 0.3], "l2": [0.1, 1.0], "l1": [0.3, 3.0]}


def norms_of(name):
    return ["l2"] if name == "carlini_wagner" else list(NORMS)


def ensemble_of(draws=3, channels=2, size=6, classes=4, seed=0, dtype=torch.float32, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    networks = []
    for _ in range(draws):
        network = torch.nn.Sequential(
            torch.nn.Conv2d(channels, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(classes)
        )
        network(torch.zeros(1, channels, size, size))
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(scale * torch.randn(p.shape, generator=generator) / p[0].numel() ** 0.5)
        networks.append(network.to(dtype))
    return Ensemble.from_networks(networks)


def data(count=6, channels=2, size=6, classes=4, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x = (1.6 * torch.rand(count, channels, size, size, generator=generator) - 0.3).clamp(0, 1)
    return x.to(dtype), torch.randint(0, classes, (count,), generator=generator)


def linear(rows, dtype=torch.float64):
    network = torch.nn.Linear(len(rows[0]), len(rows), bias=False, dtype=dtype)
    network.weight.data = torch.tensor(rows, dtype=dtype)
    return Ensemble.from_networks(network)


def run(name, ensemble, x, y, **given):
    return getattr(attacks, name)(ensemble, x, y, **{**QUICK[name], **given})


@pytest.mark.parametrize("name", QUICK)
def test_result(name):
    ensemble, (x, y) = ensemble_of(), data()
    for norm in norms_of(name):
        budget = Budget(norm, NORMS[norm], lower=(0.0, -0.1), upper=(1.0, 1.2))
        result = run(name, ensemble, x, y, budget=budget)
        assert result.name == name
        assert result.images.shape == (2, *x.shape)
        assert result.images.dtype == x.dtype
        assert torch.equal(result.clean_predicted, ensemble.predict(x))
        for images, epsilon, predicted, linf, l2, success in zip(
            result.images, result.epsilons, result.predicted, result.size_linf, result.size_l2, result.success,
            strict=True,
        ):  # fmt: skip
            budget.assert_kept(images, x, torch.full((len(x),), epsilon))
            assert torch.equal(predicted, ensemble.predict(images))
            assert torch.equal(success, predicted != y)
            torch.testing.assert_close(linf, (images - x).abs().amax((1, 2, 3)))
            torch.testing.assert_close(l2, (images - x).square().sum((1, 2, 3)).sqrt())
        assert result.accuracy(y) == pytest.approx([1 - rate for rate in result.success_rate])
        assert torch.equal(result.label_kept, result.predicted == result.clean_predicted)


@pytest.mark.parametrize("name", QUICK)
def test_same_seed_same_bytes_whatever_the_memory(name):
    ensemble, (x, y) = ensemble_of(draws=5), data(20)
    budget = Budget("l2", [0.2, 0.8])
    first = run(name, ensemble, x, y, budget=budget)
    small = run(name, ensemble, x, y, budget=budget, memory=1 << 26)
    assert torch.equal(first.images, small.images)
    if name in SEEDED:
        other = run(name, ensemble, x, y, budget=budget, seed=1)
        assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("name", QUICK)
def test_the_world_is_left_as_it_was(name):
    ensemble, (x, y) = ensemble_of(), data()
    before, state = x.clone(), torch.get_rng_state()
    weights = {k: v.clone() for k, v in ensemble.weights.items()}
    run(name, ensemble, x, y, budget=Budget("l2", 0.3))
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) and not v.requires_grad for k, v in ensemble.weights.items())
    assert not x.requires_grad


@pytest.mark.parametrize("name", [n for n in QUICK if n != "random_noise"])
@given(seed=st.integers(0, 1000), share=st.floats(0.001, 1), dtype=st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=8, deadline=None)
def test_budget_is_never_broken(name, seed, share, dtype):
    ensemble, (x, y) = ensemble_of(draws=1, seed=seed, dtype=dtype), data(3, seed=seed, dtype=dtype)
    for norm in norms_of(name):
        budget = Budget(norm, share * Budget(norm, 1).farthest(x) * (1 if norm == "linf" else 0.2))
        result = run(name, ensemble, x, y, budget=budget)  # asserts by itself; here once more, by other means
        d = (result.images[0] - x).double().flatten(1)
        size = d.norm(p={"linf": torch.inf, "l2": 2, "l1": 1}[norm], dim=1)
        assert bool((size <= budget.epsilons[0] * (1 + 1e-5) + 1e-5).all())
        assert bool(((result.images >= 0) & (result.images <= 1)).all())


@pytest.mark.parametrize("name", ["fgsm", "pgd", "auto_pgd", "square"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_optimum_of_a_linear_model(name, norm):
    # margin = (w1 - w0) x: the best image is the linear optimum of the budget, known in closed form (tests/test_budget)
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(2, 12, generator=generator, dtype=torch.float64)
    ensemble = linear(w.tolist())
    x, y = torch.rand(4, 12, generator=generator, dtype=torch.float64), torch.zeros(4, dtype=torch.long)
    budget = Budget(norm, {"linf": 0.1, "l2": 0.3, "l1": 0.6}[norm])
    best = budget.linear_optimum(x, (w[1] - w[0]).expand_as(x), torch.full((4,), budget.epsilons[0], dtype=x.dtype))
    gain = lambda images: (images - x) @ (w[1] - w[0])
    given = dict(pgd=dict(steps=100, n_restarts=1), auto_pgd=dict(steps=100), square=dict(queries=2000))
    extra = dict(early_stop=False) if name != "fgsm" else {}
    result = run(name, ensemble, x, y, budget=budget, **given.get(name, {}), **extra)
    share = (gain(result.images[0]) / gain(best)).min().item()
    assert share <= 1 + 1e-9
    fixed_step = {"linf": 1 - 1e-9, "l2": 0.95, "l1": 0.7}[norm]
    assert share >= {"fgsm": 1 - 1e-9, "pgd": fixed_step, "auto_pgd": 0.95, "square": 0.7}[name]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_smallest_perturbation_of_a_linear_model(norm):
    generator = torch.Generator().manual_seed(4)
    w = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    x = 0.4 + 0.2 * torch.rand(5, 9, generator=generator, dtype=torch.float64)
    ensemble, d = linear(w.tolist()), w[1] - w[0]
    y = ensemble.predict(x)
    distance = (x @ d).abs() / (d.abs().sum() if norm == "linf" else d.norm())
    budget = Budget(norm, 0.9)
    result = attacks.minimal_norm(ensemble, x, y, budget=budget)
    assert bool(result.success.all())
    size = result.size_linf if norm == "linf" else result.size_l2
    torch.testing.assert_close(size[0], distance, rtol=1e-4, atol=0)
    half = attacks.minimal_norm(ensemble, x, y, budget=Budget(norm, [distance.min().item() * 0.99, 0.9]))
    assert half.success_rate == [0, 1]
    if norm == "l2":
        found = attacks.carlini_wagner(ensemble, x, y, budget=budget, steps=300)
        assert bool(found.success.all())
        torch.testing.assert_close(found.size_l2[0], distance, rtol=0.05, atol=0)


def test_minimal_norm_leaves_what_is_wrong_already():
    ensemble, x = linear([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.2, 0.5]]).double()
    result = attacks.minimal_norm(ensemble, x, torch.tensor([0]), budget=Budget("l2", 0.5))
    assert torch.equal(result.images[0], x)
    assert result.success.tolist() == [[True]]


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_smallest_perturbation_of_several_draws(scale):
    # the objective of loud draws is tempered, so its boundary is not where the decision changes
    ensemble, (x, _) = ensemble_of(draws=5, scale=scale), data(20)
    y = ensemble.predict(x)
    result = attacks.minimal_norm(ensemble, x, y, budget=Budget("l2", 8.0))
    assert result.success_rate[0] >= 0.95
    # no smaller step along the same line changes the decision
    inside = x + 0.99 * (result.images[0] - x)
    assert torch.equal(ensemble.predict(inside)[result.success[0]], y[result.success[0]])
    worst = attacks.worst_case(ensemble, x, y, budget=Budget("l2", [0.3, 0.6]), steps=40, queries=100)
    within = (result.size_l2 <= torch.tensor([[0.3], [0.6]])) & result.success
    assert bool((within.sum(1) >= 0.6 * worst.success.sum(1)).all())


def test_attacks_against_brute_force():
    # two pixels: try every point of a fine grid of the budget
    generator = torch.Generator().manual_seed(5)
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(2 * torch.randn(p.shape, generator=generator))
    ensemble = Ensemble.from_networks(network)
    x = torch.rand(40, 2, generator=generator)
    y = ensemble.predict(x)
    for epsilon in (0.05, 0.15):
        axis = torch.linspace(-epsilon, epsilon, 101)
        grid = torch.cartesian_prod(axis, axis)
        points = (x[:, None] + grid).clamp(0, 1)
        breakable = (ensemble.predict(points.flatten(0, 1)).view(40, -1) != y[:, None]).any(1)
        assert 0.1 < breakable.double().mean() < 0.9
        budget = Budget("linf", epsilon)
        for name in ("worst_case", "auto_pgd", "square"):
            given = dict(
                worst_case=dict(steps=50, queries=300), auto_pgd=dict(steps=50, n_restarts=5), square=dict(queries=300)
            )
            found = getattr(attacks, name)(ensemble, x, y, budget=budget, **given[name]).success[0]
            missed = int((breakable & ~found).sum())
            assert missed <= {"worst_case": 0, "auto_pgd": 2, "square": 2}[name], name


@pytest.mark.parametrize("name", TARGETED)
def test_targeted(name):
    ensemble, (x, _) = ensemble_of(), data(8)
    target = (ensemble.predict(x) + 1) % 4
    norm, epsilon = ("l2", 4.0) if name == "carlini_wagner" else ("linf", 0.8)
    more = dict(carlini_wagner=dict(steps=100, step_size=0.1, initial_const=1.0), square=dict(queries=300)).get(
        name, {}
    )
    result = run(name, ensemble, x, target, budget=Budget(norm, epsilon), targeted=True, **more)
    assert torch.equal(result.success, result.predicted == target)
    if name not in ("random_noise", "fgsm"):
        assert result.success_rate[0] >= 0.75


def test_more_work_never_hurts():
    ensemble, (x, y) = ensemble_of(scale=6.0), data(30)
    y = ensemble.predict(x)
    budget = Budget("linf", [0.02, 0.05, 0.1])
    accuracy = lambda name, **given: torch.tensor(run(name, ensemble, x, y, budget=budget, **given).accuracy(y))
    noise, one, many, worst = map(accuracy, ("random_noise", "fgsm", "pgd", "worst_case"))
    slack = 1 / 30
    assert bool((one <= noise + slack).all() and (many <= one + slack).all() and (worst <= many).all())
    assert bool((worst.diff() <= 0).all())  # monotone in the radius, by construction
    restarts = [accuracy("pgd", n_restarts=n) for n in (1, 3)]
    assert bool((restarts[1] <= restarts[0]).all())


def test_early_stop_changes_no_verdict_and_stops():
    ensemble, (x, y) = ensemble_of(), data(30)
    calls = []
    real = Ensemble.value_and_gradient
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ensemble, "value_and_gradient", lambda *a, **k: calls.append(len(a[1])) or real(*a, **k))
        for name in ("pgd", "auto_pgd"):
            for early_stop in (False, True):
                result = run(name, ensemble, x, y, budget=Budget("linf", 0.3), early_stop=early_stop, steps=10)
                assert result.accuracy(y)[0] < 0.2
                calls.append(None)
    work = " ".join(map(str, calls)).split("None")
    total = [sum(map(int, part.split())) for part in work[:4]]
    assert total[1] < 0.7 * total[0]
    assert total[3] < 0.7 * total[2]


def test_worst_case_records_who_broke_what():
    ensemble, (x, y) = ensemble_of(), data(10)
    result = run("worst_case", ensemble, x, y, budget=Budget("linf", [0.05, 0.3]))
    broken = torch.tensor(list(result.settings["broken_by"].values())).sum(0)
    assert broken.tolist() == result.success.sum(1).tolist()
    assert list(result.settings["broken_by"])[:2] == ["clean", "auto_pgd margin"]


def test_vectors_and_two_classes():
    ensemble = linear([[1.0, 0.0, 0.3], [0.0, 1.0, -0.2]], torch.float32)
    x, y = torch.full((2, 3), 0.5), torch.tensor([0, 1])
    for name in QUICK:
        result = run(name, ensemble, x, y, budget=Budget("l2", 0.4))
        if name not in ("random_noise", "carlini_wagner"):
            assert bool(result.success.all()), name


@pytest.mark.parametrize("name", QUICK)
def test_bad_input(name):
    ensemble, (x, y) = ensemble_of(), data()
    attack = lambda x=x, y=y, budget=None, **k: run(name, ensemble, x, y, budget=budget or Budget("l2", 0.1), **k)
    with pytest.raises(ValueError, match=rf"{name}: images must lie in the pixel range"):
        attack(255 * x)
    with pytest.raises(ValueError, match=rf"{name}: images hold 1 NaN"):
        attack(x.clone().index_put_((torch.tensor(0),) * 4, torch.tensor(torch.nan)))
    with pytest.raises(ValueError, match=rf"{name}: expected a batch of at least one image"):
        attack(x[:0], y[:0])
    with pytest.raises(ValueError, match=rf"{name}: labels must lie in 0\.\.3 for 4 classes"):
        attack(y=y + 4)
    with pytest.raises(ValueError, match=rf"{name}: expected 6 labels"):
        attack(y=y[:2])
    with pytest.raises(TypeError, match=rf"{name}: labels must be a tensor of integers"):
        attack(y=y.float())
    with pytest.raises(ValueError, match=rf"{name}: a radius of 255 reaches beyond the pixel range"):
        attack(budget=Budget("l2", 255))
    with pytest.raises(ValueError, match=rf"{name}: a radius of 1e-12 cannot move a pixel"):
        attack(budget=Budget("l2", 1e-12))


class Cut(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1).detach())


class Noisy(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x.flatten(1)) + torch.randn(())


def test_models_that_cannot_be_attacked_by_gradients():
    x, y = torch.rand(2, 4), torch.tensor([0, 1])
    cut = Ensemble.from_networks(Cut(4, 2))
    for name in ("fgsm", "pgd", "auto_pgd", "carlini_wagner", "minimal_norm", "worst_case"):
        with pytest.raises(ValueError, match=rf"{name}: the network's output does not depend .* attacks.square"):
            run(name, cut, x, cut.predict(x), budget=Budget("l2", 0.1))
    run("square", cut, x, y, budget=Budget("l2", 0.1))
    noisy = Ensemble.from_networks([Noisy(4, 2), Noisy(4, 2)])
    with pytest.raises(ValueError, match="fgsm: the network draws random numbers when it is called"):
        run("fgsm", noisy, x, y, budget=Budget("l2", 0.1))


def test_bad_settings():
    ensemble, (x, y) = ensemble_of(), data()
    bad = [
        (dict(name="pgd", steps=0), r"pgd: steps must lie in \[1"),
        (dict(name="pgd", momentum=2), r"pgd: momentum must lie in \[0, 1\]"),
        (dict(name="pgd", objective="loss"), "pgd: no objective named 'loss'; choose one of cross_entropy"),
        (dict(name="auto_pgd", n_restarts=0), "auto_pgd: n_restarts"),
        (dict(name="square", area=0.0), r"square: area must lie in \(0, 1\]"),
        (dict(name="random_noise", kind="salt"), "random_noise: kind must be 'sign' or 'uniform', got 'salt'"),
        (dict(name="worst_case", queries=0), "worst_case: queries"),
    ]
    for settings_, message in bad:
        with pytest.raises(ValueError, match=message):
            run(settings_.pop("name"), ensemble, x, y, budget=Budget("linf", 0.1), **settings_)
    with pytest.raises(ValueError, match="carlini_wagner: the budget must be l2, got linf"):
        run("carlini_wagner", ensemble, x, y, budget=Budget("linf", 0.1))
    two = linear([[1.0, 0.0], [0.0, 1.0]], torch.float32)
    with pytest.raises(ValueError, match="needs at least 3 classes, got 2; use objective='margin'"):
        run("pgd", two, torch.rand(1, 2), torch.tensor([0]), budget=Budget("linf", 0.1), objective="dlr")
