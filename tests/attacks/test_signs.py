"""Every attack's result carries checks: honest results pass them, planted models and weak searches do not."""

import dataclasses
import json

import pytest
import torch

from holdfast import attacks
from holdfast.attacks import in_parts, transfer
from holdfast.attacks.masking_figures import scaled
from holdfast.attacks.search import Search
from holdfast.attacks.signs import merged, sample
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.studies.published import mean_of_images

BUDGETS = {"linf": Budget("linf", [0.05, 0.15]), "l2": Budget("l2", [0.3, 0.9]), "l1": Budget("l1", [1.5, 4.0])}
SHORT = {
    "fgsm": {},
    "pgd": dict(steps=20, n_restarts=3),
    "auto_pgd": dict(steps=20, n_restarts=3),
    "auto_pgd_targeted": dict(steps=10, n_target_classes=2),
    "random_noise": {},
    "square": dict(queries=200),
    "minimal_norm": dict(steps=30),
    "worst_case": dict(steps=10, queries=20, n_target_classes=2),
    "carlini_wagner": dict(steps=100, binary_search_steps=6, step_size=0.03),
}
NAMES = ["deterministic", "differentiable", "logits", "saturation", "zero_gradient", "derivative", "order", "sizes"]


@pytest.fixture(scope="module")
def case():
    """Two small networks that fit ten smooth prototypes with noise, and 120 images of the same kind."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(10, 1, 4, 4, generator=generator)
    prototypes = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
    y = torch.arange(1120) % 10
    x = (prototypes[y] + 0.15 * torch.randn(1120, 1, 8, 8, generator=generator)).clamp(0, 1)
    networks = []
    for _ in range(2):
        network = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 48), torch.nn.ReLU(), torch.nn.Linear(48, 10)
        )
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(torch.randn(p.shape, generator=generator) * ((2 / p.shape[-1]) ** 0.5 if p.ndim > 1 else 0))
        optimiser = torch.optim.Adam(network.parameters(), 3e-3)
        for rows in torch.arange(1000).split(100) * 10:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()
            optimiser.step()
        networks.append(network)
    return Ensemble.from_networks(networks), x[1000:], y[1000:]


def attacked(name, ensemble, x, y, norm="linf", **given):
    return getattr(attacks, name)(ensemble, x, y, budget=BUDGETS[norm], **SHORT[name], **given)


@pytest.mark.parametrize(
    ("name", "norm"), [(n, norm) for n in SHORT for norm in BUDGETS if n != "carlini_wagner" or norm == "l2"]
)
def test_an_honest_result_passes(case, name, norm):
    found = attacked(name, *case, norm=norm)
    assert found.masking.passed, str(found)
    own = NAMES[: 6 if name == "random_noise" else None] + ["black_box"] * (name == "worst_case")
    assert [check.name for check in found.masking.checks] == own
    json.dumps(found.masking.figures)
    lines = str(found).splitlines()
    assert lines[0] == f"{name} on 120 images"
    assert lines[1].startswith(f"{norm} {BUDGETS[norm].epsilons[0]:.3g}: success {found.success_rate[0]:.1%}, label")
    assert lines[3:] == [f"pass  {check.name}: {check.sentence}" for check in found.masking.checks]
    assert repr(found) == str(found)


def test_targeted_attacks_count_what_missed_the_target(case):
    ensemble, x, y = case
    found = attacks.pgd(ensemble, x, (y + 1) % 10, budget=BUDGETS["linf"], targeted=True)
    order = next(check for check in found.masking.checks if check.name == "order")
    assert order.passed, order.sentence
    assert order.sentence.startswith("share of images not at their target: clean ")
    assert found.masking.figures["accuracy"]["pgd"] == pytest.approx(
        [1 - found.success[e][sample(120)].double().mean().item() for e in range(2)]
    )


def planted(case):
    import torch.nn.functional as F

    ensemble = case[0]

    class Wrapped(torch.nn.Module):
        def __init__(self, forward):
            super().__init__()
            self.network, self.own = ensemble.network, forward

        def forward(self, x):
            return self.own(self.network, x)

    def wrapped(forward, draws=slice(None)):
        return Ensemble(Wrapped(forward), {f"network.{k}": v[draws] for k, v in ensemble.weights.items()})

    one = slice(0, 1)
    return {
        "loud": (scaled(ensemble, 1000.0), "pgd", {"saturation", "zero_gradient"}),
        "quantised": (wrapped(lambda net, x: net((3 * x).round() / 3)), "pgd", {"zero_gradient"}),
        "random": (wrapped(lambda net, x: net(x) + torch.randn(10), one), "pgd", {"deterministic"}),
        "probabilities": (wrapped(lambda net, x: F.softmax(net(x), -1)), "pgd", {"logits"}),
        "detached": (wrapped(lambda net, x: net(x.detach())), "square", {"differentiable"}),
    }


def test_planted_models_are_caught_in_the_result_itself(case):
    _, x, y = case
    for name, (ensemble, attack, expected) in planted(case).items():
        found = attacked(attack, ensemble, x, y)
        assert expected <= set(found.masking.failed), (name, str(found))
        assert "FAIL" in str(found)


def test_a_search_that_stands_still_or_goes_the_wrong_way_is_caught(case):
    ensemble, x, y = case
    budget = BUDGETS["linf"]
    search = Search("still", ensemble, x, y, budget=budget, memory=1 << 30)
    assert {"order", "sizes"} <= set(search.finish("still", {}).masking.failed)
    search.forget()
    _, gradient = search.gradient(search.x, search.rows)
    search.forget()
    search.judge(budget.linear_optimum(search.x, -gradient, search.radius), search.rows)
    wrong = search.finish("wrong way", {}).masking
    assert wrong.failed == ("order",)
    assert "one step" in wrong.checks[6].sentence
    assert "wrong way" in wrong.checks[6].sentence


def test_the_released_attack_on_several_draws_gives_itself_away(case):
    # images made on each loud draw, then their mean: hardly moved, weaker than one step, and the draws are saturated
    ensemble, x, y = case
    found = mean_of_images(scaled(ensemble, 1000.0), x, y, epsilon=0.15)
    assert {"saturation", "zero_gradient", "order", "sizes"} <= set(found.masking.failed), str(found)


def test_a_search_stuck_in_the_wrong_place_is_told_to_start_again(case):
    found = attacks.pgd(*case, budget=BUDGETS["l2"], steps=20)
    assert found.masking.failed == ("order",)
    assert found.masking.checks[6].sentence.endswith(
        "gradients mislead the search, or it needs more steps or restarts."
    )


def test_figures_are_those_of_a_slow_count(case):
    ensemble, x, y = case
    found = attacked("fgsm", ensemble, x, y).masking.figures
    rows = sample(120)
    assert len(rows) == 100
    assert int(rows.diff().max()) == 2  # spread over the whole batch
    assert int(rows.max()) == 118
    assert rows.unique().tolist() == rows.tolist()
    assert found["images"] == 100
    assert found["saturation_rate"] == pytest.approx(
        sum(float(ensemble.module(s)(x[i : i + 1]).softmax(-1).max()) == 1.0 for s in range(2) for i in rows.tolist())
        / 200
    )
    assert found["accuracy"]["clean"] == (ensemble.predict(x[rows]) == y[rows]).double().mean().item()
    shown = attacked("fgsm", ensemble, x, y)
    for e, epsilon in enumerate((0.05, 0.15)):
        left = ~shown.success[e][rows]
        share = (shown.size_linf[e][rows][left] / epsilon).mean().item()
        assert found["size_share"][e] == pytest.approx(share, rel=1e-5)
        assert found["withstood"][e] == int(left.sum())


def test_parts_are_merged(case, tmp_path):
    ensemble, x, y = case
    given = dict(budget=BUDGETS["linf"], steps=5)
    result = in_parts(attacks.pgd, ensemble, x, y, folder=tmp_path, images_per_part=50, **given)
    again = in_parts(attacks.pgd, ensemble, x, y, folder=tmp_path, images_per_part=50, **given)
    assert again.masking == result.masking
    whole = attacks.pgd(ensemble, x, y, **given).masking.figures
    found = result.masking.figures
    assert found["images"] == 120
    assert len(found["zero_gradient_rate_per_image"]) == 120
    assert found["accuracy"]["clean"] == pytest.approx((ensemble.predict(x) == y).double().mean().item())
    assert found["accuracy"]["pgd"] == pytest.approx(result.accuracy(y))
    assert found.keys() == whole.keys()
    failed = ~result.success
    expected = [(result.size_linf[e][failed[e]] / (0.05, 0.15)[e]).mean().item() for e in range(2)]
    assert found["size_share"] == pytest.approx(expected)
    bad = dataclasses.replace(result.masking, figures={"images": 10, "deterministic": False})
    assert merged([result.masking, bad]).failed == ("deterministic",)


def test_transferred_images_keep_the_checks_of_where_they_were_made(case):
    ensemble, x, y = case
    made = attacked("fgsm", ensemble, x, y)
    assert transfer(made, ensemble[0], x, y).masking is made.masking
