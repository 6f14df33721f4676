"""Our AutoPGD, PGD and Square against torchattacks on one network: no weaker, image by image or on the whole."""

import pytest
import torch

from holdfast import attacks
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble


@pytest.fixture(scope="module")
def torchattacks():
    return pytest.importorskip("torchattacks", reason="torchattacks is not installed; `make oracles` does it")


@pytest.fixture(scope="module")
def case():
    """A small convolutional network that classifies 80 noisy images of eight prototypes, hard to break entirely."""
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.rand(8, 3, 9, 9, generator=generator)
    y = torch.arange(800) % 8
    x = (prototypes[y] + 0.2 * torch.randn(800, 3, 9, 9, generator=generator)).clamp(0, 1)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 12, 3), torch.nn.ReLU(), torch.nn.Conv2d(12, 12, 3, 2), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(108, 8),
    )  # fmt: skip
    with torch.no_grad():
        for p in network.parameters():
            p.copy_((p.ndim > 1) * torch.randn(p.shape, generator=generator) * (2 / max(1, p[0].numel())) ** 0.5)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(100):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(x[80:]), y[80:]).backward()
        optimiser.step()
    ensemble = Ensemble.from_networks(network)
    return network.eval(), ensemble, x[:80], y[:80]


def accuracy(ensemble, images, y):
    return (ensemble.predict(images) == y).double().mean().item()


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.09), ("l2", 0.9)])
@pytest.mark.parametrize("loss", ["ce", "dlr"])
def test_auto_pgd(torchattacks, case, norm, epsilon, loss):
    network, ensemble, x, y = case
    theirs = torchattacks.APGD(network, norm={"linf": "Linf", "l2": "L2"}[norm], eps=epsilon, steps=30, loss=loss)(x, y)
    objective = {"ce": "cross_entropy", "dlr": "dlr"}[loss]
    ours = attacks.auto_pgd(ensemble, x, y, budget=Budget(norm, epsilon), objective=objective, steps=30)
    left = accuracy(ensemble, theirs, y)
    assert 0.05 < left < 0.95
    assert ours.accuracy(y)[0] <= left + 2 / len(x)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.14), ("l2", 1.8)])
def test_square(torchattacks, case, norm, epsilon):
    network, ensemble, x, y = case
    name = {"linf": "Linf", "l2": "L2"}[norm]
    theirs = torchattacks.Square(network, norm=name, eps=epsilon, n_queries=200)(x, y)
    ours = attacks.square(ensemble, x, y, budget=Budget(norm, epsilon), queries=200)
    left = accuracy(ensemble, theirs, y)
    assert 0.05 < left < 0.95
    assert ours.accuracy(y)[0] <= left + 0.1


def test_our_ensembles_go_into_their_attacks(torchattacks, case):
    _, ensemble, x, y = case
    pair = Ensemble(ensemble.network, {k: v.expand(2, *v.shape[1:]) for k, v in ensemble.weights.items()})
    images = torchattacks.PGD(attacks.as_module(pair), eps=0.12, alpha=0.03, steps=10)(x, y)
    assert accuracy(ensemble, images, y) < accuracy(ensemble, x, y)
    assert float((images - x).abs().max()) <= 0.12 + 1e-6


def test_worst_case_is_at_least_as_strong_as_all_of_them(torchattacks, case):
    network, ensemble, x, y = case
    epsilon, right = 0.09, ensemble.predict(x) == y
    for attack in (
        torchattacks.APGD(network, eps=epsilon, steps=30, loss="ce"),
        torchattacks.APGD(network, eps=epsilon, steps=30, loss="dlr"),
        torchattacks.Square(network, eps=epsilon, n_queries=100),
    ):
        right &= ensemble.predict(attack(x, y)) == y
    ours = attacks.worst_case(ensemble, x, y, budget=Budget("linf", epsilon), steps=30, queries=200)
    assert 0.05 < right.double().mean() < 0.95
    assert ours.accuracy(y)[0] <= right.double().mean().item()
