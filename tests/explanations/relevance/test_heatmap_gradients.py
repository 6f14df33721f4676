"""Derivatives through the map: finite differences in images and weights, float32 against float64, the mean map."""

import copy

import pytest
import torch
from little_networks import NETWORKS, settle
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations import AlphaBeta, Composite, Epsilon, Gamma, Pass, heatmap, lrp, mean_map_gradient
from holdfast.explanations.relevance import Flat, Stabiliser, WSquare, ZBox, ZPlus

RULES = [Epsilon(1e-2), Gamma(0.25), AlphaBeta(2, 1), ZPlus(), WSquare(), Flat(), ZBox(-3, 3), Epsilon(bias="share")]


def weights_of(network):
    return {k: v.detach() for k, v in (*network.named_parameters(), *network.named_buffers())}


class Attention(nn.Module):
    """One block with attention, a layer norm and a gate."""

    shape = (4, 6)

    def __init__(self):
        super().__init__()
        self.norm, self.mix = nn.LayerNorm(6), nn.MultiheadAttention(6, 2, batch_first=True)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        h = self.norm(x)
        h = x + self.mix(h, h, h, need_weights=False)[0]
        return self.fc((h * h.sigmoid()).mean(1))


CASES = [(n, r) for n in ("Strided", "Residual", "Transposed") for r in RULES] + [("Attention", r) for r in RULES[:2]]


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}-{type(CASES[i][1]).__name__}-{i}")
def test_gradients_of_the_map_are_finite_differences(case):
    name, rule = CASES[case]
    network = settle(Attention() if name == "Attention" else NETWORKS[name]())
    rules = Composite(rule, norm=Epsilon(1e-2))
    g = torch.Generator().manual_seed(3)
    draw = lambda t: torch.randn(t.shape, generator=g, dtype=t.dtype)
    weights = weights_of(network)
    floats = {k: weights[k] for k, _ in network.named_parameters()}  # torch does not differentiate running statistics
    x = torch.randn(2, *network.shape, generator=g, dtype=torch.float64)
    v, target = draw(x), torch.tensor([1, 0])
    value = lambda t, w: (heatmap(network, weights | w, t, rules, target=target) * v).sum()
    t = x.clone().requires_grad_()
    w = {k: p.clone().requires_grad_() for k, p in floats.items()}
    gx, *gw = torch.autograd.grad(value(t, w), [t, *w.values()], allow_unused=True)
    gw = dict(zip(w, gw))
    errors = {"x": [], "w": []}
    for _ in range(5):  # the median: a single direction may cross a kink
        d, step = draw(x), 1e-6
        difference = (value(x + step * d, floats) - value(x - step * d, floats)) / (2 * step)
        errors["x"].append(abs(float((gx * d).sum() / difference) - 1))
        d = {k: 0.1 * draw(p) for k, p in floats.items()}
        moved = [{k: p + sign * step * d[k] for k, p in floats.items()} for sign in (1, -1)]
        difference = (value(x, moved[0]) - value(x, moved[1])) / (2 * step)
        total = sum((gw[k] * d[k]).sum() for k in floats if gw[k] is not None)
        errors["w"].append(abs(float(total / difference) - 1))
    assert sorted(errors["x"])[2] < 2e-6
    assert sorted(errors["w"])[2] < 2e-6


@pytest.mark.parametrize("rule", [Epsilon(), Gamma(), AlphaBeta(), ZPlus()], ids=lambda r: type(r).__name__)
def test_second_derivatives_in_float32_are_right_by_default(rule):
    g = torch.Generator().manual_seed(0)
    mlp = nn.Sequential(
        nn.Flatten(), nn.Linear(144, 256), nn.LeakyReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    for network, shape in ((settle(mlp), (1, 12, 12)), (settle(NETWORKS["Residual"]()), (1, 6, 6))):
        x, v = (torch.rand(16, *shape, generator=g, dtype=torch.float64) for _ in range(2))
        found = {}
        for kind in (torch.float32, torch.float64):
            n = copy.deepcopy(network).to(kind)
            t = x.to(kind).requires_grad_()
            maps = heatmap(n, weights_of(n), t, rule, target=torch.arange(16) % 3, nonneg=True)
            (found[kind],) = torch.autograd.grad((maps * v.to(kind)).sum(), t)
        error = (found[torch.float32] - found[torch.float64]).norm() / found[torch.float64].norm()
        assert torch.isfinite(found[torch.float32]).all()
        assert float(error) < 1e-3


def test_units_at_zero_keep_every_derivative_finite():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    for p in network.parameters():
        p.data.zero_()
    for rule in (Epsilon(), Gamma(), AlphaBeta(), ZBox()):
        x = torch.zeros(1, 3, requires_grad=True)
        maps = heatmap(network, weights_of(network), x, rule, "one")
        (gradient,) = torch.autograd.grad(maps.sum() + (maps**2).sum(), x)
        assert torch.isfinite(maps).all()
        assert torch.isfinite(gradient).all()


def test_the_stabiliser_follows_the_scale_of_the_layer_and_takes_zero_for_positive():
    z = torch.tensor([[3.0, 0.0, -4.0]])
    fixed, relative = Stabiliser(0.5, relative=False), Stabiliser(0.1)
    assert torch.allclose(fixed.divide(torch.ones(1, 3), z), torch.tensor([[1 / 3.5, 2.0, -1 / 4.5]]))
    e = 0.1 * (25 / 3) ** 0.5
    assert torch.allclose(relative.divide(torch.ones(1, 3), z), 1 / torch.tensor([[3 + e, e, -4 - e]]))
    many = torch.randn(50, 7)
    assert torch.allclose(relative.divide(many, 1e3 * many), 1e-3 * relative.divide(many, many))
    assert torch.isfinite(relative.divide(torch.zeros(2, 3), torch.zeros(2, 3))).all()


def test_the_map_can_be_transformed_by_torch_func():
    network = settle(NETWORKS["Residual"]())
    weights, x = weights_of(network), torch.rand(3, 1, 6, 6, dtype=torch.float64)
    value = lambda t: (heatmap(network, weights, t, Gamma(), target=torch.tensor([0, 1, 2])) ** 2).sum()
    t = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(value(t), t)
    assert torch.allclose(torch.func.grad(value)(x), expected)
    stacked = {
        k: torch.stack([v, 1.1 * v]) if v.is_floating_point() else torch.stack([v, v]) for k, v in weights.items()
    }
    both = torch.vmap(lambda w: heatmap(network, w, x, Gamma()))(stacked)
    assert torch.allclose(both[0], heatmap(network, weights, x, Gamma()))


def ensemble(draws):
    networks = []
    for i in range(draws):
        layers = (nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Softplus(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4))
        networks.append(settle(nn.Sequential(*layers), i))
    return Ensemble.from_networks(networks)


@pytest.mark.parametrize("draws", [1, 6])
def test_gradient_of_an_objective_of_the_mean_map(draws, monkeypatch):
    e, x = ensemble(draws), torch.rand(5, 1, 6, 6, dtype=torch.float64)
    v, target = torch.randn(5, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    objective = lambda maps, images: (maps * v[images]).flatten(1).sum(1) ** 2
    t = x.clone().requires_grad_()
    maps = [heatmap(e.module(s), weights_of(e.module(s)), t, Gamma(), target=target, nonneg=True) for s in range(draws)]
    value = objective(torch.stack(maps).mean(0), slice(None))
    (expected,) = torch.autograd.grad(value.sum(), t)
    for tile in (1 << 30, 40_000, 10_000):  # one graph; several of draws; several of images and draws
        monkeypatch.setattr("holdfast.tiles.TILE", tile)
        values, gradient = mean_map_gradient(e, x, objective, target, rule=Gamma())
        assert torch.allclose(values, value)
        assert torch.allclose(gradient, expected)
    assert torch.allclose(lrp(e, x, target, rule=Gamma(), reduce="mean"), torch.stack(maps).mean(0))
    assert mean_map_gradient(e, x, objective)[1].shape == x.shape


def test_identity_on_norms_passes_gradients_too():
    network = settle(Attention())
    x = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(
        heatmap(network, weights_of(network), x, Composite(Epsilon(), norm=Pass())).sum(), x
    )
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
