"""Transfer, held-out draws, and the adapter for other libraries."""

import pytest
import torch

from holdfast.attacks import Attacked, as_module, attack_explanation, away, fgsm, pgd, transfer, transfer_table
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.explanations import gradient_times_input


def ensemble_of(draws=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    networks = []
    for _ in range(draws):
        network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))
        networks.append(network)
    return Ensemble.from_networks(networks)


@pytest.fixture
def case():
    x = torch.rand(12, 8, generator=torch.Generator().manual_seed(7))
    return ensemble_of(), x


def test_transfer_is_a_forward_pass_on_the_other(case):
    a, x = case
    b, y = ensemble_of(seed=1), a.predict(x)
    made = pgd(a, x, y, budget=Budget("linf", [0.05, 0.2]), steps=5)
    shown = transfer(made, b, x, y)
    assert shown.name == "pgd, transferred"
    assert torch.equal(shown.clean_predicted, b.predict(x))
    for images, predicted, success in zip(made.images, shown.predicted, shown.success, strict=True):
        assert torch.equal(predicted, b.predict(images))
        assert torch.equal(success, b.predict(images) != y)
    back = transfer(made, a, x, y)
    assert torch.equal(back.success, made.success)


def test_targeted_success_stays_targeted(case):
    a, x = case
    target = (a.predict(x) + 1) % 4
    made = fgsm(a, x, target, budget=Budget("linf", 0.3), targeted=True)
    assert torch.equal(transfer(made, a, x, target).success, made.predicted == target)


def test_held_out_draws(case):
    everything, x = case
    y = everything.predict(x)
    attacked = pgd(everything[:2], x, y, budget=Budget("linf", 0.1))
    held_out = transfer(attacked, everything[2], x, y)
    assert torch.equal(held_out.predicted[0], everything[2].predict(attacked.images[0]))


def test_table_both_ways(case):
    a, x = case
    both, y = {"a": a, "b": ensemble_of(seed=1)}, a.predict(x)
    attacked = {name: pgd(e, x, y, budget=Budget("linf", 0.2), steps=10) for name, e in both.items()}
    table = transfer_table(attacked, both, x, y)
    for source in both:
        for shown_to, e in both.items():
            expected = (e.predict(attacked[source].images[0]) == y).double().mean().item()
            assert table[source][shown_to] == [expected]
    assert table["a"]["a"] <= table["b"]["a"]


def test_of_an_attack_on_explanations_only_the_images_are_shown(case):
    a, x = case
    b, y = ensemble_of(seed=1), a.predict(x)
    explain = lambda e, x, y: gradient_times_input(e, x, y, create_graph=True)
    given = dict(explain=explain, objective=away(), budget=Budget("linf", 0.3), steps=3, beta=None)
    shown = transfer(attack_explanation(a, x, y, **given), b, x, y)
    assert type(shown) is Attacked
    assert torch.equal(shown.success, shown.predicted != y)
    assert torch.equal(shown.predicted[0], b.predict(shown.images[0]))


def test_wrong_images(case):
    a, x = case
    made = fgsm(a, x, a.predict(x), budget=Budget("linf", 0.1))
    with pytest.raises(ValueError, match=r"transfer: expected images of shape \[B, 8\]"):
        transfer(made, a, x[:, :4], a.predict(x))
    with pytest.raises(ValueError, match="transfer: expected 12 labels"):
        transfer(made, a, x, a.predict(x)[:3])


def test_adapter(case):
    ensemble, x = case
    module = as_module(ensemble)
    torch.testing.assert_close(module(x), ensemble.log_predictive(x))
    assert not module.training
    assert next(module.parameters()).device == x.device
    y = ensemble.predict(x)
    t = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(module(t), y).backward()
    # a bare FGSM over the module is our FGSM on the cross-entropy
    bare = (x + 0.1 * t.grad.sign()).clamp(0, 1)
    ours = fgsm(ensemble, x, y, budget=Budget("linf", 0.1), objective="cross_entropy").images[0]
    torch.testing.assert_close(ours, bare)


def test_the_adapter_moves_and_changes_its_type_as_modules_do(case):
    ensemble, x = case
    for module, dtype in ((as_module(ensemble).double(), torch.float64), (as_module(ensemble).half(), torch.float16)):
        assert next(module.parameters()).dtype == dtype
        log_p = module(x.to(dtype))
        assert log_p.dtype == dtype
        torch.testing.assert_close(log_p, ensemble.to(dtype=dtype).log_predictive(x.to(dtype)))
    assert as_module(ensemble).to("meta")(x.to("meta")).is_meta
    assert ensemble.dtype == torch.float32  # the ensemble handed over stays as it is
    assert ensemble.device.type == "cpu"
