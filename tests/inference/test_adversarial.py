"""adversarial: the attack keeps its budget and finds the worst case it can; training on it makes networks robust."""

import pytest
import torch
import torch.nn.functional as F
from problems import accuracy, blobs
from torch import nn

from holdfast import data
from holdfast.budget import Budget
from holdfast.inference import Training, adversarial, sgd
from holdfast.inference import adversarial as adversarial_function
from holdfast.inference.adversarial import attack_batch
from holdfast.networks import fc2


def linear_problem(norm):
    split = blobs(50, shape=(1, 3, 3), dtype=torch.float64)
    weight = torch.randn(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return split, (lambda x: x.flatten(1) @ weight.T), Budget(norm, 0.1, -10.0, 10.0)


@pytest.mark.parametrize("attack", ["pgd", "fgsm"])
def test_two_class_linear_attack_reaches_the_corner_in_closed_form(attack):
    split, forward, budget = linear_problem("linf")
    two = lambda x: forward(x)[:, :2]
    labels = split.labels.clamp(max=1)
    moved = attack_batch(two, split.images, labels, budget, 0.1, attack, 7, torch.Generator().manual_seed(0))
    x = split.images.clone().requires_grad_()
    difference = (two(x)[torch.arange(50), 1 - labels] - two(x)[torch.arange(50), labels]).sum()
    (direction,) = torch.autograd.grad(difference, x)
    corner = split.images + 0.1 * direction.sign()
    if attack == "pgd":
        assert torch.allclose(moved, corner, atol=1e-9)
    else:  # a step of 1.25 radii from a random point of the ball does not reach every corner
        assert ((moved - corner).abs() < 1e-9).double().mean() > 0.55
        assert ((moved - corner).abs() <= 0.075 + 1e-9).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_budget_is_kept_pixels_included(norm):
    split, forward, _ = linear_problem(norm)
    budget = Budget(norm, 0.3)
    moved = attack_batch(forward, split.images, split.labels, budget, 0.3, "pgd", 5, torch.Generator().manual_seed(0))
    assert budget.size(moved, split.images).max() <= 0.3 + 1e-9
    assert budget.size(moved, split.images).max() > 0.29
    assert moved.min() >= 0
    assert moved.max() <= 1
    before, after = (F.cross_entropy(forward(x), split.labels, reduction="none") for x in (split.images, moved))
    assert (after > before).double().mean() > 0.95


@pytest.mark.parametrize("attack", ["pgd", "fgsm"])
def test_the_start_is_random(attack):
    split, _, budget = linear_problem("linf")
    blind = lambda x: 0 * x.flatten(1)[:, :3]  # no slope: the start is the result
    moved = attack_batch(blind, split.images, split.labels, budget, 0.1, attack, 3, torch.Generator().manual_seed(0))
    change = (moved - split.images).flatten()
    assert change.abs().max() <= 0.1 + 1e-12
    assert abs(float(change.mean())) < 5 * 0.0577 / len(change) ** 0.5
    assert float(change.std()) == pytest.approx(0.0577, rel=0.1)


def test_training_sees_attacked_images_with_true_labels_and_a_clean_share(monkeypatch):
    import sys

    module = sys.modules["holdfast.inference.adversarial"]
    split, seen = blobs(60), []

    def spy(logits, labels):
        seen.append(labels)
        return true(logits, labels)

    true = module.cross_entropy
    budget = Budget("linf", 0.2)
    inputs = []

    class Watch(nn.Linear):
        def forward(self, x):
            if self.training:
                inputs.append(x.detach().clone())
            return super().forward(x)

    monkeypatch.setattr(module, "cross_entropy", spy)
    training = Training(epochs=6, batch_size=20)
    adversarial(Watch(4, 3), split, seed=0, budget=budget, clean_share=0.25, steps=2, training=training)
    originals = {tuple(x.tolist()) for x in split.images}
    for x, y in zip(inputs[-3:], seen[-3:], strict=True):
        clean = [tuple(row.tolist()) in originals for row in x]
        assert clean == [True] * 5 + [False] * 15
        nearest = torch.cdist(x, split.images, p=torch.inf).min(1)
        assert nearest.values.max() <= 0.2 + 1e-6
        assert y.shape == (1, 20)


def test_the_radius_grows_over_the_first_fifth_of_the_epochs(monkeypatch):
    import sys

    module = sys.modules["holdfast.inference.adversarial"]
    radii, true = [], module.attack_batch

    def spy(forward, images, labels, budget, radius, *rest):
        radii.append(radius)
        return true(forward, images, labels, budget, radius, *rest)

    monkeypatch.setattr(module, "attack_batch", spy)
    adversarial(
        fc2((4,), 3, width=4),
        blobs(40),
        seed=0,
        budget=Budget("linf", 0.2),
        training=Training(epochs=10, batch_size=40),
    )
    assert radii == pytest.approx([0.1] + [0.2] * 9)


def robust_accuracy(ensemble, split, radius):
    budget = Budget("linf", radius)
    module = ensemble.module()
    moved = attack_batch(
        module, split.images, split.labels, budget, radius, "pgd", 20, torch.Generator().manual_seed(1)
    )
    return float((module(moved).argmax(1) == split.labels).double().mean())


def test_training_makes_real_networks_robust():
    dataset = data.load("fashion-mini")
    train, test = dataset.train[:1200], dataset.test[:300]
    network = fc2((1, 28, 28), 10, width=32)
    training = Training(epochs=10, batch_size=64, learning_rate=1e-2)
    plain = sgd(network, train, seed=0, training=training)
    assert robust_accuracy(plain, test, 0.05) < 0.4
    for attack in ("pgd", "fgsm"):
        budget = Budget("linf", 0.05)
        hard = adversarial(network, train, seed=0, budget=budget, attack=attack, steps=3, training=training)
        assert robust_accuracy(hard, test, 0.05) > 0.5
        assert accuracy(hard, test) > 0.65
        assert hard.diagnostics.settings["budget"]["epsilons"] == (0.05,)


def test_training_goes_on_from_a_trained_network():
    split, network = blobs(40), fc2((4,), 3, width=6)
    first = sgd(network, split, seed=0, training=Training(epochs=3))
    still = Training(1, 40, 1e-30, "sgd", "constant")
    for again in (
        sgd(network, split, seed=5, training=still, initial=first),
        adversarial(network, split, seed=5, budget=Budget("linf", 0.1), training=still, initial=first),
    ):
        assert all(torch.allclose(again.weights[k], v, atol=1e-20) for k, v in first.weights.items())
        assert again.diagnostics.settings["initial"]
    with pytest.raises(ValueError, match="initial does not fit"):
        sgd(fc2((4,), 3, width=7), split, seed=0, training=still, initial=first)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"budget": Budget("linf", (0.1, 0.2))}, r"the budget must have one radius, got \(0\.1, 0\.2\)"),
        ({"budget": Budget("linf", 0.1, 0.2, 0.8)}, "images must lie in the pixel range"),
        ({"attack": "cw"}, "attack must be 'pgd' or 'fgsm', got 'cw'"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"clean_share": 1.5}, r"clean_share must lie in \[0, 1\], got 1\.5"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        adversarial_function(fc2((4,), 3), blobs(), seed=0, **{"budget": Budget("linf", 0.1), **settings})
