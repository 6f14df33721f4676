"""Objectives against slow float64 rewrites, finite differences, and their claims about scale."""

import pytest
import torch

from holdfast.attacks import objectives, pgd
from holdfast.attacks.objectives import OBJECTIVES, tempered
from holdfast.budget import Budget
from holdfast.data import Split
from holdfast.ensemble import Ensemble
from holdfast.inference import Training, sgd
from holdfast.networks import fc2


def logits(draws=3, count=5, classes=6, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(draws, count, classes, generator=generator, dtype=torch.float64)
    return z, torch.randint(0, classes, (count,), generator=generator)


def slow(name, z, y):
    """One image at a time, probabilities multiplied out."""
    values = []
    for i in range(z.shape[1]):
        one, label = z[:, i], int(y[i])
        spread = sum(float(d.var(correction=0).sqrt()) for d in one) / len(one)
        others = [c for c in range(one.shape[1]) if c != label]
        p = sum(torch.exp(d) / torch.exp(d).sum() for d in one) / len(one)
        heat = max(1.0, spread / 2)
        q = sum(torch.exp(d / heat) / torch.exp(d / heat).sum() for d in one) / len(one)
        top = sorted(torch.log(q).tolist(), reverse=True)
        gap = float(max(torch.log(q)[c] for c in others) - torch.log(q)[label])
        mean = one.mean(0)
        vote = []
        for d in one:
            ranked = sorted(d.tolist(), reverse=True)
            vote.append(min(0.2, (max(float(d[c]) for c in others) - float(d[label])) / (ranked[0] - ranked[2])))
        values.append(
            {
                "cross_entropy": -float(torch.log(p[label])),
                "tempered_cross_entropy": -float(torch.log(q[label])),
                "margin": gap,
                "dlr": gap / (top[0] - top[2]),
                "logit_margin": float(max(mean[c] for c in others) - mean[label]),
                "votes": sum(vote) / len(vote),
                "levelled_margin": sum(slow_levelled(one, label, level) for level in (2, 5, 10)) / 3,
            }[name]
        )
    return torch.tensor(values, dtype=torch.float64)


def slow_levelled(one, label, level):
    p = sum((d / max(1.0, float(d.var(correction=0).sqrt()) / level)).softmax(0) for d in one) / len(one)
    return float(max(torch.log(p[c]) for c in range(len(p)) if c != label) - torch.log(p[label]))


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("scale", [0.5, 5.0])
def test_values(name, scale):
    z, y = logits(scale=scale)
    torch.testing.assert_close(OBJECTIVES[name](z, y), slow(name, z, y), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_by_finite_differences(name):
    z, y = logits(scale=0.7)  # quiet logits: the temperature is 1 and has no derivative of its own
    assert torch.autograd.gradcheck(lambda z: OBJECTIVES[name](z, y), z.requires_grad_())


def test_targeted_forms():
    z, y = logits()
    target = (y + 1) % 6
    q = tempered(z)
    own, goal = (q.gather(-1, t[:, None])[:, 0] for t in (y, target))
    torch.testing.assert_close(objectives.margin_towards(z, y, target), goal - own)
    top = q.sort(-1, descending=True).values
    expected = (goal - own) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3]))
    torch.testing.assert_close(objectives.targeted_dlr(z, y, target), expected)
    loud = 30 * z * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)
    for levels in ((2, 5, 10), (10,)):
        heat = lambda d, level: max(1.0, float(d.std(correction=0)) / level)
        r = [sum((d[i] / heat(d[i], level)).softmax(-1) for d in loud) for i in range(5) for level in levels]
        log_r = torch.stack(r).log().unflatten(0, (5, -1)).mean(1)
        expected = (log_r.gather(-1, target[:, None]) - log_r.gather(-1, y[:, None]))[:, 0]
        torch.testing.assert_close(objectives.levelled_towards(loud, y, target, levels=levels), expected)
    with pytest.raises(ValueError, match=r"targeted_dlr: .* needs at least 4 classes, got 3"):
        objectives.targeted_dlr(z[..., :3], y.clamp(max=2), target.clamp(max=2))


@pytest.mark.parametrize("factor", [1e-2, 1e2, 1e4])
@pytest.mark.parametrize("name", ["margin", "dlr", "logit_margin", "votes"])
def test_one_network_at_any_scale_gives_the_same_direction(name, factor):
    z, y = logits(draws=1, scale=8.0)
    z = z.float()

    def direction(factor):
        t = (factor * z).requires_grad_()
        (g,) = torch.autograd.grad(OBJECTIVES[name](t, y).sum(), t)
        return g / g.abs().amax(-1, keepdim=True).clamp(min=1e-30)

    torch.testing.assert_close(direction(factor), direction(1.0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("gap", [10.0, 1e3, 1e5])
def test_no_gradient_dies_of_saturation(name, gap):
    # the true class far ahead under every draw: an ordinary float32 cross-entropy is blind from a gap of about 17 on
    z, y = logits(draws=2)
    z = z.float()
    z.scatter_add_(-1, y.expand(2, -1)[..., None], torch.full((2, 5, 1), gap))
    t = z.clone().requires_grad_()
    (g,) = torch.autograd.grad(OBJECTIVES[name](t, y).sum(), t)
    own = g.sum(0).gather(-1, y[:, None])[:, 0]
    assert bool((own < 0).all())  # the label's own logits are pushed down


def test_votes_stop_at_the_cap():
    z = torch.tensor([[[0.0, 5.0, 1.0]], [[4.0, 0.0, 1.0]]], requires_grad=True)  # the first draw has flipped
    (g,) = torch.autograd.grad(objectives.votes(z, torch.tensor([0])).sum(), z)
    assert bool((g[0] == 0).all())
    assert bool((g[1] != 0).any())


def test_a_loud_ensemble_is_heard_in_full():
    # three draws, one of them much less sure: the plain log predictive follows that one alone
    z = torch.tensor([[[400.0, 0.0]], [[300.0, 0.0]], [[20.0, 0.0]]], requires_grad=True)
    y = torch.tensor([0])
    (plain,) = torch.autograd.grad(objectives.cross_entropy(z, y).sum(), z)
    (ours,) = torch.autograd.grad(objectives.margin(z, y).sum(), z)
    assert plain[0].abs().max() < 1e-30 * plain[2].abs().max()
    assert ours[0].abs().max() > 1e-3 * ours[2].abs().max()


@pytest.fixture(scope="module")
def taught():
    """Three networks taught ten prototypes of 8 x 8 pixels, and forty images of them."""
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.rand(10, 1, 8, 8, generator=generator)
    y = torch.arange(600) % 10
    x = (prototypes[y] + 0.15 * torch.randn(600, 1, 8, 8, generator=generator)).clamp(0, 1)
    network, training = fc2((1, 8, 8), 10, width=48), Training(epochs=10)
    return [sgd(network, Split(x, y), seed=s, training=training).module() for s in range(3)], x[:40], y[:40]


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
def test_every_objective_reaches_a_target(taught, objective, draws):
    networks, x, y = taught
    ensemble, target = Ensemble.from_networks(networks[:draws]), (y + 3) % 10
    found = pgd(ensemble, x, target, budget=Budget("linf", 0.35), objective=objective, steps=20, targeted=True)
    assert found.success_rate[0] > 0.9  # with their untargeted denominators dlr reaches 0.5 at most, votes 0.13
