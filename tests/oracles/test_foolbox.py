"""An ensemble handed to Foolbox by the adapter: its attacks run, and ours is no weaker."""

import pytest
import torch

from holdfast import attacks, data, networks
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_ensembles_go_into_foolbox():
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed; `make oracles` does it")
    generator = torch.Generator().manual_seed(0)
    members = []
    for _ in range(3):
        network = torch.nn.Sequential(torch.nn.Linear(12, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))
        members.append(network)
    ensemble, x = Ensemble.from_networks(members), torch.rand(40, 12, generator=generator)
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


def test_boundary_points_are_no_farther_than_those_of_foolbox_at_the_same_budget():
    foolbox = pytest.importorskip("foolbox", reason="foolbox is not installed; `make oracles` does it")
    ensemble, split = networks.load_trained("placed-standard"), data.load("placed", train=1, test=6).test
    x, y = split.images, ensemble.predict(split.images)
    model, radii = foolbox.PyTorchModel(ensemble.module(0), bounds=(0, 1)), (0.1, 0.2, 0.4, 0.8)
    constants, steps = 5, 20
    _, moved, ok = foolbox.attacks.L2CarliniWagnerAttack(constants, steps)(model, x, y, epsilons=None)
    theirs = torch.where(ok, (moved - x).flatten(1).norm(dim=1), torch.inf)
    pgd = foolbox.attacks.L2ProjectedGradientDescentAttack(rel_stepsize=2.5 / steps, steps=steps)
    with torch.random.fork_rng():
        torch.manual_seed(0)  # Foolbox's random starts
        found_by_pgd = pgd(model, x, y, epsilons=list(radii))[1:]
    for moved, ok in zip(*found_by_pgd, strict=True):
        theirs = torch.minimum(theirs, torch.where(ok, (moved - x).flatten(1).norm(dim=1), torch.inf))
    found = attacks.nearest_boundary(ensemble, x, y, steps=(constants + len(radii)) * steps)
    assert found.success.all()
    assert theirs.isfinite().any()
    assert found.distance.median() <= theirs.median()
    assert (found.distance <= 1.02 * theirs).all()
