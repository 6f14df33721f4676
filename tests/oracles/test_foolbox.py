"""An ensemble handed to Foolbox by the adapter: its attacks run, and ours is no weaker."""

import pytest
import torch

from holdfast import attacks
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_ensembles_go_into_foolbox():
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed; `make oracles` does it")
    generator = torch.Generator().manual_seed(0)
    networks = []
    for _ in range(3):
        network = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))
        networks.append(network)
    ensemble, x = Ensemble.from_networks(networks), torch.rand(40, 12, generator=generator)
    y, epsilons = ensemble.predict(x), [0.02, 0.05, 0.1]
    model = foolbox.PyTorchModel(attacks.as_module(ensemble), bounds=(0, 1))
    torch.testing.assert_close(model(x), ensemble.log_predictive(x))
    _, images, success = foolbox.attacks.LinfPGD(steps=20)(
        model, x, foolbox.criteria.Misclassification(y), epsilons=epsilons
    )
    ours = attacks.pgd(ensemble, x, y, budget=Budget("linf", epsilons), objective="cross_entropy", steps=20)
    for i in range(3):
        assert torch.equal(ensemble.predict(images[i]) != y, success[i])
    theirs = success.double().mean(1)
    assert 0 < theirs[1] < 1
    assert bool((ours.success.double().mean(1) >= theirs - 0.025).all())
