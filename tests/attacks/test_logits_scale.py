"""The first truth test: multiplying a network's logits changes no decision, so it must change no verdict.

Under the protocol of the papers (one sign step along the float32 gradient of the cross-entropy) a network whose logits
are multiplied by 100 looks robust. Under our attacks it does not.
"""

import pytest
import torch

from holdfast.attacks import fgsm, masking_report, pgd
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble

EPSILON = 0.2


def fc2(classes=10, width=128):
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(64, width),
        torch.nn.LeakyReLU(),
        torch.nn.Linear(width, width),
        torch.nn.LeakyReLU(),
        torch.nn.Linear(width, classes),
    )


def scaled(ensemble, factor):
    """The same network with its logits multiplied."""
    last = list(ensemble.weights)[-2:]
    return Ensemble(ensemble.network, {k: v * factor if k in last else v for k, v in ensemble.weights.items()})


@pytest.fixture(scope="module")
def trained():
    """A small fc2 trained to fit ten smooth prototypes with noise, and test images of the same kind."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(10, 1, 4, 4, generator=generator)
    prototypes = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")

    def draw(count):
        y = torch.arange(count) % 10
        return (prototypes[y] + 0.15 * torch.randn(count, 1, 8, 8, generator=generator)).clamp(0, 1), y

    x, y = draw(2000)
    network = fc2()
    with torch.no_grad():
        for p in network.parameters():
            bound = (2 / p.shape[-1]) ** 0.5 if p.ndim > 1 else 0.0
            p.copy_(bound * torch.randn(p.shape, generator=generator))
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(20):
        for rows in torch.randperm(len(x), generator=generator).split(100):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimiser.step()
    return Ensemble.from_networks(network), *draw(300)


def papers_fgsm(ensemble, x, y):
    """FGSM as in the papers' code: the float32 cross-entropy's own gradient, whatever has become of it."""
    module = ensemble.module()
    t = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(module(t), y).backward()
    return (x + EPSILON * t.grad.sign()).clamp(0, 1), t.grad


def accuracy(ensemble, images, y):
    return (ensemble.predict(images) == y).double().mean().item()


@pytest.mark.parametrize("factor", [0.01, 100, 10_000])
@pytest.mark.parametrize("attack", [fgsm, pgd])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_margin_attack_is_blind_to_the_scale_of_the_logits(trained, attack, factor, norm):
    ensemble, x, y = trained
    other = scaled(ensemble, factor)
    assert torch.equal(other.predict(x), ensemble.predict(x))
    budget = Budget(norm, EPSILON if norm == "linf" else 1.2)
    plain, after = (attack(e, x, y, budget=budget) for e in (ensemble, other))
    assert plain.accuracy(y)[0] < 0.5 * accuracy(ensemble, x, y)  # the attack does work
    assert abs(after.accuracy(y)[0] - plain.accuracy(y)[0]) <= 1 / len(x)
    moved = (after.images - plain.images).abs() > 1e-3
    assert moved.double().mean() < 0.02  # only signs of rounding errors may differ


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_a_power_of_two_changes_no_bit(trained, attack):
    ensemble, x, y = trained
    budget = Budget("linf", [0.05, EPSILON])
    plain, after = (attack(e, x, y, budget=budget) for e in (ensemble, scaled(ensemble, 2.0**13)))
    assert torch.equal(plain.images, after.images)


@pytest.mark.parametrize("factor", [0.01, 1, 100, 10_000])
def test_cross_entropy_of_the_log_predictive_outlives_saturation(trained, factor):
    ensemble, x, y = trained
    other = scaled(ensemble, factor)
    result = pgd(other, x, y, budget=Budget("linf", EPSILON), objective="cross_entropy")
    margin = pgd(ensemble, x, y, budget=Budget("linf", EPSILON))
    assert result.accuracy(y)[0] <= margin.accuracy(y)[0] + 0.05


def test_the_papers_protocol_is_fooled_by_the_scale(trained):
    ensemble, x, y = trained
    plain, _ = papers_fgsm(ensemble, x, y)
    loud = scaled(ensemble, 100)
    fooled, gradient = papers_fgsm(loud, x, y)
    assert accuracy(ensemble, plain, y) < 0.5
    assert (gradient.flatten(1) == 0).all(1).double().mean() > 0.5
    assert accuracy(loud, fooled, y) > accuracy(ensemble, plain, y) + 0.3


def test_the_masking_report_tells_the_scaled_network_apart(trained):
    ensemble, x, y = trained
    budget = Budget("linf", EPSILON)
    plain = masking_report(ensemble, x, y, budget=budget, steps=10)
    loud = masking_report(scaled(ensemble, 100), x, y, budget=budget, steps=10)
    assert plain.passed, str(plain)
    assert {"saturation", "zero_gradient"} <= set(loud.failed)
    assert abs(loud.figures["accuracy"]["many_steps"][0] - plain.figures["accuracy"]["many_steps"][0]) < 0.02
