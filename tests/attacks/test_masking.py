"""Models planted to look robust: each must be caught by a named check, and an honest model by none."""

import json

import pytest
import torch

from holdfast.attacks import fgsm, in_parts, masking_report, pgd, square, transfer, worst_case
from holdfast.attacks.answers import derivative_kept, zero_gradients
from holdfast.attacks.masking_figures import scaled
from holdfast.attacks.objectives import OBJECTIVES
from holdfast.budget import Budget
from holdfast.data import Split
from holdfast.ensemble import Ensemble
from holdfast.inference import Training, mean_field

BUDGET = Budget("linf", [0.1, 0.2])


def fit(network, x, y, scale=None, epochs=12, seed=0):
    """Train; with `scale` the weights begin as draws of N(0, scale^2) and the rate is theirs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            own = scale or ((2 / p.shape[-1]) ** 0.5 if p.ndim > 1 else 0.0)
            p.copy_(own * torch.randn(p.shape, generator=generator))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2 if scale else 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(100):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimiser.step()
    return network


def fc2(width=64):
    layers = [torch.nn.Flatten(), torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, width)]
    return torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(width, 10))


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(10, 1, 4, 4, generator=generator)
    prototypes = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
    y = torch.arange(1600) % 10
    x = (prototypes[y] + 0.15 * torch.randn(1600, 1, 8, 8, generator=generator)).clamp(0, 1)
    return x[:1500], y[:1500], x[1500:], y[1500:]


@pytest.fixture(scope="module")
def honest(images):
    return Ensemble.from_networks([fit(fc2(), *images[:2], seed=seed) for seed in range(2)])


class Wrapped(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network


class Quantised(Wrapped):
    def forward(self, x):
        return self.network((3 * x).round() / 3)


class Randomised(Wrapped):
    def forward(self, x):
        return self.network(x) + torch.randn(10)


class Probabilities(Wrapped):
    def forward(self, x):
        return self.network(x).softmax(-1)


class OtherBackward(torch.autograd.Function):
    """The forward pass of one network, the backward pass of another."""

    @staticmethod
    def forward(context, x, network, other):
        context.save_for_backward(x)
        context.other = other
        return network(x)

    @staticmethod
    def backward(context, back):
        with torch.enable_grad():
            x = context.saved_tensors[0].detach().requires_grad_()
            return torch.autograd.grad(context.other(x), x, back)[0], None, None


class OfAnother(Wrapped):
    """A network with a gradient that is small nowhere, and has nothing to do with it."""

    def forward(self, x):
        generator = torch.Generator().manual_seed(0)
        other = torch.randn(64, 10, generator=generator, dtype=x.dtype)
        return OtherBackward.apply(x, self.network, lambda t: t.flatten(1) @ other)


class StraightThrough(Wrapped):
    """Rounds pixels to 256 levels and passes the gradient through, which attacks may follow."""

    def forward(self, x):
        return self.network(x + ((255 * x).round() / 255 - x).detach())


class Leaking(Wrapped):
    """Rounds pixels to 4 levels; a faint linear leak gives it a true gradient everywhere, which says nothing."""

    def __init__(self, network):
        super().__init__(network)
        self.leak = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))

    def forward(self, x):
        return self.network((3 * x).round() / 3) + 1e-3 * (x.flatten(1) @ self.leak.to(x.dtype))


class Rippled(Leaking):
    """Ripples over the logits: a true gradient that points nowhere for long."""

    def forward(self, x):
        return self.network(x) + 0.1 * torch.sin(1e4 * (x.flatten(1) @ self.leak.to(x.dtype)))


class SinglePrecision(Wrapped):
    """Runs in float32 only."""

    def forward(self, x):
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return self.network(x)


class Detached(Wrapped):
    def forward(self, x):
        return self.network(x.detach())


def wrapped(kind, ensemble):
    weights = {f"network.{k}": v for k, v in ensemble.weights.items()}
    return Ensemble(kind(ensemble.network), weights)


def loud(ensemble, images):
    return scaled(ensemble, 100.0)


def unit_prior(ensemble, images):
    """Draws fitted from where a N(0, 1) prior on every weight puts them."""
    return Ensemble.from_networks([fit(fc2(), *images[:2], scale=1.0, seed=seed) for seed in range(2)])


def unit_prior_vi(ensemble, images):
    """Mean-field variational inference under the same prior."""
    training = Training(epochs=20, batch_size=100, learning_rate=1e-2)
    return mean_field(fc2(), Split(*images[:2]), seed=0, draws=5, prior="unit", training=training)


PLANTED = {
    "loud": (loud, {"saturation", "zero_gradient"}),
    "unit prior": (unit_prior, {"saturation", "zero_gradient"}),
    "unit prior, variational": (unit_prior_vi, {"saturation"}),
    "quantised": (lambda e, _: wrapped(Quantised, e), {"zero_gradient", "sizes"}),
    "random at call time": (lambda e, _: wrapped(Randomised, e[0]), {"deterministic"}),
    "random, several draws": (lambda e, _: wrapped(Randomised, e), {"deterministic"}),
    "probabilities": (lambda e, _: wrapped(Probabilities, e), {"logits"}),
    "backward pass of its own": (lambda e, _: wrapped(OfAnother, e[0]), {"derivative"}),
    "ripples": (lambda e, _: wrapped(Rippled, e), {"derivative"}),
    "detached": (lambda e, _: wrapped(Detached, e), {"differentiable"}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_models_are_caught(name, honest, images):
    plant, expected = PLANTED[name]
    planted = plant(honest, images)
    report = masking_report(planted, *images[2:], budget=BUDGET, steps=10)
    assert expected <= set(report.failed), str(report)
    assert not report.passed
    # the result of an attack says so itself
    if name == "random, several draws":
        with pytest.raises(ValueError, match="the network draws random numbers when it is called"):
            fgsm(planted, *images[2:], budget=BUDGET)
        return
    attacked = square(planted, *images[2:], budget=BUDGET, queries=20)
    assert expected - {"sizes"} <= set(attacked.masking.failed), str(attacked)


def test_an_honest_model_passes_everything(honest, images):
    other = Ensemble.from_networks(fit(fc2(), *images[:2], seed=5))
    report = masking_report(honest, *images[2:], budget=BUDGET, steps=20, queries=200, others={"other": other})
    assert report.passed, str(report)
    names = [check.name for check in report.checks]
    assert names == [
        "deterministic", "differentiable", "logits", "saturation", "zero_gradient", "derivative", "order", "sizes",
        "worst_case", "radius", "black_box", "logit_scale", "restarts", "transfer",
    ]  # fmt: skip
    assert str(report).count("pass") >= 13
    json.dumps(report.figures)
    json.dumps([check.__dict__ for check in report.checks])
    for check in report.checks:
        assert check.sentence.endswith(".")
        assert check.rule


def test_the_thorough_report_catches_quantisation_in_more_ways(honest, images):
    x, y = images[2][:50], images[3][:50]
    report = masking_report(
        wrapped(Quantised, honest), x, y, budget=BUDGET, steps=10, queries=300, others={"honest": honest}
    )
    assert {"black_box", "transfer", "radius"} <= set(report.failed), str(report)


def test_the_worst_case_says_that_its_gradients_found_nothing(honest, images, tmp_path):
    x, y = images[2][:30], images[3][:30]
    given = dict(budget=BUDGET, steps=5, queries=300)
    planted = wrapped(Leaking, honest)
    found = worst_case(planted, x, y, **given)
    square = torch.tensor(found.settings["broken_by"]["square"]) / 30
    assert float(square.max()) > 0.3
    assert "black_box" in found.masking.failed, str(found)
    assert found.masking.figures["broken_by"]["square"] == pytest.approx(float(square.max()))
    assert worst_case(honest, x, y, **given).masking.passed
    # in parts of unequal size: shares of all images
    parts = in_parts(worst_case, planted, x, y, folder=tmp_path, images_per_part=20, **given)
    share = max(parts.settings["broken_by"]["square"]) / 30
    assert parts.masking.figures["broken_by"]["square"] == pytest.approx(share)
    assert "black_box" in parts.masking.failed


def test_zero_gradients_against_a_loop(honest, images):
    x, y = images[2][:7], images[3][:7]
    loud_ones = scaled(honest, 30.0)
    found = zero_gradients(loud_ones, x, y)
    for s in range(2):
        module = loud_ones.module(s)
        for i in range(7):
            t = x[i : i + 1].clone().requires_grad_()
            torch.nn.functional.cross_entropy(module(t), y[i : i + 1]).backward()
            assert bool(found[s, i]) == bool((t.grad == 0).all())
    assert found.any()
    assert not found.all()


def test_loud_draws_do_not_hide_from_the_default_attack(images):
    # the papers' case: draws with weights of unit size, each sure of itself; the plain log predictive is blind there
    ensemble = Ensemble.from_networks([fit(fc2(), *images[:2], scale=1.0, seed=seed) for seed in range(8)])
    x, y = images[2:]
    budget = Budget("linf", 0.15)
    left = {name: pgd(ensemble, x, y, budget=budget, objective=name).accuracy(y)[0] for name in OBJECTIVES}
    assert left["cross_entropy"] > 0.5
    for name in ("margin", "dlr", "votes", "logit_margin", "tempered_cross_entropy"):
        assert left[name] < left["cross_entropy"] - 0.3, left
    worst = worst_case(ensemble, x, y, budget=budget, steps=20, queries=50)
    assert worst.accuracy(y)[0] <= min(left.values())


def test_no_draw_hides_behind_a_louder_one(images):
    # from a hundredth to a thousand times as loud: one temperature for all draws would flatten most of them
    draws = [fit(fc2(), *images[:2], scale=1.0, seed=seed) for seed in range(8)]
    with torch.no_grad():
        for draw, factor in zip(draws, torch.logspace(-2, 3, 8), strict=True):
            for p in draw[-1].parameters():
                p.mul_(factor)
    ensemble, (x, y), budget = Ensemble.from_networks(draws), (t[:40] for t in images[2:]), Budget("linf", 0.1)
    given = dict(budget=budget, steps=30, queries=20, n_target_classes=4)
    found = worst_case(ensemble, x, y, **given)
    levelled = [n[0] for stage, n in found.settings["broken_by"].items() if "levelled" in stage]
    assert len(levelled) == 2
    assert sum(levelled) >= 5  # of 40, after all that follows the draws as they are
    assert found.accuracy(y)[0] < 0.3
    assert not any("levelled" in stage for stage in worst_case(ensemble[0], x, y, **given).settings["broken_by"])


@pytest.mark.parametrize(
    "kind", ["honest", "loud", "unit prior", "straight through", "single precision", "black images"]
)
def test_the_derivative_of_a_network_is_no_false_alarm(kind, honest, images):
    ensemble, x = honest, images[2]
    if kind in PLANTED:
        ensemble = PLANTED[kind][0](honest, images)
    if kind == "black images":  # at a kink wherever a bias is zero
        x = torch.zeros_like(x)
    for name, made in (("straight through", StraightThrough), ("single precision", SinglePrecision)):
        ensemble = wrapped(made, honest[0]) if kind == name else ensemble
    assert derivative_kept(ensemble, x) == 1


def test_no_derivative_is_tried_where_there_is_none(honest, images):
    assert derivative_kept(wrapped(Quantised, honest), images[2]) is None
    assert derivative_kept(wrapped(OfAnother, honest[0]), images[2]) < 0.5


def test_results_made_before_must_be_of_the_same_case(honest, images):
    x, y = images[2][:20], images[3][:20]
    given = dict(budget=BUDGET, steps=3)
    made = pgd(honest, x, y, **given)
    report = masking_report(honest, x, y, attacked={"many_steps": made}, **given)
    assert report.figures["accuracy"]["many_steps"] == made.accuracy(y)
    wrong = {
        "was made on other images": pgd(honest, 1 - x, y, **given),
        "was made under an l2 budget, expected linf": pgd(honest, x, y, steps=3, budget=Budget("l2", [0.1, 0.2])),
        "was made for other labels": pgd(honest, x, (y + 1) % 10, **given),
        "or towards targets": pgd(honest, x, y, targeted=True, **given),
        r"judged by another ensemble: this one decides otherwise on \d+ of 60": transfer(
            made, Ensemble.from_networks(fc2()), x, y
        ),
        r"was made under the radii \(0\.1,\)": pgd(honest, x, y, steps=3, budget=Budget("linf", 0.1)),
    }
    for message, other in wrong.items():
        with pytest.raises(ValueError, match=rf"masking_report: attacked\['many_steps'\] .*{message}"):
            masking_report(honest, x, y, attacked={"many_steps": other}, **given)


def test_bad_input(honest, images):
    x, y = images[2:]
    with pytest.raises(ValueError, match=r"masking_report: labels must lie in 0\.\.9"):
        masking_report(honest, x, y + 1, budget=BUDGET)
    with pytest.raises(ValueError, match="masking_report: images must lie in the pixel range"):
        masking_report(honest, 255 * x, y, budget=BUDGET)
