"""Resuming: an interrupted run ends as an uninterrupted one, and nothing stale or damaged is taken for a result."""

import pytest
import torch

from holdfast import attacks
from holdfast.attacks import in_parts, worst_case
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    network = torch.nn.Linear(6, 4)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    x = torch.rand(10, 6, generator=generator)
    return Ensemble.from_networks(network), x, torch.randint(0, 4, (10,), generator=generator)


GIVEN = dict(budget=Budget("linf", [0.05, 0.2]), steps=5, queries=10)


CALLS = []


def interrupted(ensemble, x, y, **settings):
    CALLS.append(len(x))
    if len(CALLS) == 3:
        raise KeyboardInterrupt
    return worst_case(ensemble, x, y, **settings)


def test_an_interrupted_run_goes_on(case, tmp_path):
    ensemble, x, y = case
    CALLS.clear()
    with pytest.raises(KeyboardInterrupt):
        in_parts(interrupted, ensemble, x, y, folder=tmp_path, images_per_part=3, **GIVEN)
    result = in_parts(interrupted, ensemble, x, y, folder=tmp_path, images_per_part=3, **GIVEN)
    assert CALLS == [3, 3, 3, 3, 1]  # two parts, the interrupted one, then what was left
    whole = in_parts(worst_case, ensemble, x, y, folder=tmp_path / "other", images_per_part=3, **GIVEN)
    assert torch.equal(result.images, whole.images)
    assert torch.equal(result.success, whole.success)
    assert result.settings == whole.settings
    assert (
        sum(torch.tensor(v) for v in result.settings["broken_by"].values()).tolist() == result.success.sum(1).tolist()
    )
    assert result.epsilons == (0.05, 0.2)
    assert torch.equal(result.clean_predicted, ensemble.predict(x))


def test_other_settings_or_weights_are_another_run(case, tmp_path):
    ensemble, x, y = case
    given = dict(folder=tmp_path, images_per_part=10)
    in_parts(attacks.pgd, ensemble, x, y, **given, budget=Budget("linf", 0.1))
    in_parts(attacks.pgd, ensemble, x, y, **given, budget=Budget("linf", 0.1))
    assert len(list(tmp_path.iterdir())) == 1
    in_parts(attacks.pgd, ensemble, x, y, **given, budget=Budget("linf", 0.2))
    in_parts(attacks.pgd, ensemble, x, y, **given, budget=Budget("linf", 0.1), seed=1)
    in_parts(attacks.pgd, ensemble, x + 1e-6 * (x < 0.5), y, **given, budget=Budget("linf", 0.1))
    other = Ensemble(ensemble.network, {k: 2 * v for k, v in ensemble.weights.items()})
    in_parts(attacks.pgd, other, x, y, **given, budget=Budget("linf", 0.1))
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damage_is_seen(case, tmp_path, damage):
    ensemble, x, y = case
    given = dict(folder=tmp_path, budget=Budget("linf", 0.1))
    good = in_parts(attacks.fgsm, ensemble, x, y, **given)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-20] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.warns(UserWarning, match=r"in_parts: .* is damaged .*; computing this part again"):
        again = in_parts(attacks.fgsm, ensemble, x, y, **given)
    assert torch.equal(again.images, good.images)
    in_parts(attacks.fgsm, ensemble, x, y, **given)  # whole again: no warning


def test_bad_input(case, tmp_path):
    ensemble, x, y = case
    with pytest.raises(ValueError, match="in_parts: images_per_part must lie in"):
        in_parts(attacks.fgsm, ensemble, x, y, folder=tmp_path, images_per_part=0, budget=Budget("linf", 0.1))
    with pytest.raises(ValueError, match="in_parts: expected 10 labels"):
        in_parts(attacks.fgsm, ensemble, x, y[:3], folder=tmp_path, budget=Budget("linf", 0.1))
    assert not list(tmp_path.iterdir())


class Quantised(torch.nn.Module):
    """Rounds the images; how finely is no weight."""

    def __init__(self, network, levels):
        super().__init__()
        self.network, self.levels = network, levels

    def forward(self, x):
        return self.network((x * self.levels).round() / self.levels)


def test_networks_of_the_same_weights_that_compute_something_else_are_another_run(tmp_path):
    network = torch.nn.Linear(4, 3)
    x, y = torch.rand(6, 4), torch.arange(6) % 3
    budget = Budget("linf", 0.1)
    coarse, fine = (Ensemble.from_networks(Quantised(network, levels)) for levels in (2, 100))
    attacks.in_parts(attacks.random_noise, coarse, x, y, folder=tmp_path, budget=budget)
    found = attacks.in_parts(attacks.random_noise, fine, x, y, folder=tmp_path, budget=budget)
    assert torch.equal(found.predicted, attacks.random_noise(fine, x, y, budget=budget).predicted)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def of_source(source, **names):
    """What a cell of a notebook that holds `source` leaves behind: names of the module `__main__`."""
    names |= {"__name__": "__main__", "torch": torch, "attacks": attacks}
    exec(source, names)
    return names


ATTACK = """
def mine(ensemble, x, y, *, budget, steps=2):
    return attacks.pgd(ensemble, x, y, budget=budget, steps=steps, random_start=False)
"""


@pytest.mark.parametrize("edit", [("random_start=False", "momentum=0.5"), ("steps=2", "steps=3")])
def test_an_attack_of_the_same_name_with_other_code_is_another_run(case, tmp_path, edit):
    given = dict(folder=tmp_path, budget=Budget("linf", 0.1))
    before, again, after = (of_source(source)["mine"] for source in (ATTACK, ATTACK, ATTACK.replace(*edit)))
    first = in_parts(before, *case, **given)
    assert torch.equal(in_parts(again, *case, **given).images, first.images)
    assert len(list(tmp_path.iterdir())) == 1
    assert torch.equal(in_parts(after, *case, **given).images, after(*case, budget=given["budget"]).images)
    assert len(list(tmp_path.iterdir())) == 2


def test_an_objective_of_the_same_name_with_other_code_is_another_run(case, tmp_path):
    given = dict(folder=tmp_path, budget=Budget("linf", 0.1), steps=2)
    source = "def loss(z, y): return -z.mean(0).gather(-1, y[:, None])[:, 0]"
    for code in (source, source, source.replace("mean", "sum")):
        in_parts(attacks.pgd, *case, objective=of_source(code)["loss"], **given)
    assert len(list(tmp_path.iterdir())) == 2


def test_attacks_made_on_the_spot_are_refused(case, tmp_path):
    def within(ensemble, x, y, **settings):
        return attacks.fgsm(ensemble, x, y, **settings)

    bound = of_source("class Mine:\n    def attack(self, ensemble, x, y, **settings): pass")["Mine"]().attack
    for attack in (within, lambda ensemble, x, y, **settings: within(ensemble, x, y, **settings), bound):
        with pytest.raises(ValueError, match="in_parts: attack is a function made on the spot, or a method"):
            in_parts(attack, *case, folder=tmp_path, budget=Budget("linf", 0.1))
    assert not list(tmp_path.iterdir())
