"""Our LRP against zennit 0.5.1 in float64: every rule that both have, on networks of one chain of modules."""

import pytest
import torch
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.lrp import lrp
from holdfast.explanations.relevance import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Stabiliser,
    WSquare,
    ZBox,
    ZPlus,
    by_kind,
)
from holdfast.explanations.relevance.heatmap import heatmap

FIXED = Stabiliser(1e-6, relative=False)
RULES = {
    "epsilon": (Epsilon(1e-6), lambda rules: rules.Epsilon(1e-6)),
    "epsilon_large": (Epsilon(0.25), lambda rules: rules.Epsilon(0.25)),
    "gamma": (Gamma(0.25, stabiliser=FIXED), lambda rules: rules.Gamma(0.25)),
    "gamma_large": (Gamma(3.0, stabiliser=FIXED), lambda rules: rules.Gamma(3.0)),
    "zplus": (ZPlus(stabiliser=FIXED), lambda rules: rules.ZPlus()),
    "alpha2_beta1": (AlphaBeta(2.0, 1.0, stabiliser=FIXED), lambda rules: rules.AlphaBeta(2.0, 1.0)),
    "alpha1.5_beta0.5": (AlphaBeta(1.5, 0.5, stabiliser=FIXED), lambda rules: rules.AlphaBeta(1.5, 0.5)),
    "flat": (Flat(stabiliser=FIXED), lambda rules: rules.Flat()),
    "wsquare": (WSquare(bias="absorb", stabiliser=FIXED), lambda rules: rules.WSquare()),
    "zbox": (ZBox(-2.0, 3.0, stabiliser=FIXED), lambda rules: rules.ZBox(-2.0, 3.0)),
}


def mlp(activation):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(50, 16), activation(), nn.Linear(16, 12), activation(), nn.Linear(12, 4)
    )


def convolutional(activation):
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        activation(),
        nn.Conv2d(6, 6, 3, stride=2, padding=2, groups=2, dilation=2),
        activation(),
        nn.AvgPool2d(2, 1),
        nn.Flatten(),
        nn.LazyLinear(10),
        activation(),
        nn.Linear(10, 4),
    )


def pooled(activation):
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        activation(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(4),
    )


def ensemble_of(make, count=3):
    torch.manual_seed(0)
    networks = []
    for _ in range(count):
        network = make().eval()
        network(torch.rand(1, 2, 5, 5))
        networks.append(network.double())
    return Ensemble.from_networks(networks)


def images(lowest):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 2, 5, 5, dtype=torch.float64, generator=generator) * (1 - lowest) + lowest


def zennit_maps(zennit, ensemble, x, target, composite):
    """One draw at a time; relevance starts as the logit of the class."""
    maps = []
    for s in range(len(ensemble)):
        start = lambda out: out * torch.nn.functional.one_hot(target, out.shape[-1])
        with zennit.attribution.Gradient(ensemble.module(s), composite) as attribute:
            maps.append(attribute(x, start)[1].detach())
    return torch.stack(maps)


def assert_same(ours, theirs, tolerance=1e-10):
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() < tolerance * theirs.abs().max()


@pytest.mark.parametrize("lowest", [0.0, -1.0], ids=["positive", "either_sign"])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Tanh])
@pytest.mark.parametrize("make", [mlp, convolutional, pooled])
@pytest.mark.parametrize("name", RULES)
def test_each_rule_in_every_layer(zennit, name, make, activation, lowest):
    ensemble, x, target = ensemble_of(lambda: make(activation)), images(lowest), torch.tensor([0, 1, 2, 3, 0, 1])
    rule, other = RULES[name]
    ours = lrp(ensemble, x, target, rule=Composite(rule, sums=FIXED))
    layers = [(zennit.types.Linear, other(zennit.rules))]  # linear and convolutional maps in zennit's words
    composite = zennit.composites.LayerMapComposite(layers + zennit.composites.layer_map_base())
    assert_same(ours, zennit_maps(zennit, ensemble, x, target, composite))


@pytest.mark.parametrize("name", ["EpsilonPlusFlat", "EpsilonGammaBox", "EpsilonAlpha2Beta1"])
def test_the_usual_composites(zennit, name):
    ensemble, x, target = ensemble_of(lambda: convolutional(nn.ReLU)), images(0.0), torch.tensor([0, 1, 2, 3, 0, 1])
    ours = {
        "EpsilonPlusFlat": dict(first=Flat(stabiliser=FIXED), convolution=ZPlus(stabiliser=FIXED)),
        "EpsilonGammaBox": dict(first=ZBox(0.0, 1.0, stabiliser=FIXED), convolution=Gamma(0.25, stabiliser=FIXED)),
        "EpsilonAlpha2Beta1": dict(convolution=AlphaBeta(2.0, 1.0, stabiliser=FIXED)),
    }[name]
    settings = {"low": 0.0, "high": 1.0} if name == "EpsilonGammaBox" else {}
    composite = getattr(zennit.composites, name)(**settings)
    rule = Composite(by_kind(linear=Epsilon(1e-6), **ours).choose, sums=FIXED)
    assert_same(lrp(ensemble, x, target, rule=rule), zennit_maps(zennit, ensemble, x, target, composite))


@pytest.mark.parametrize("name", ["epsilon", "gamma", "alpha2_beta1"])
def test_gradients_through_the_map(zennit, name):
    """zennit's are right where relevance requires a gradient and the hooks are off in the second pass."""
    ensemble, x = ensemble_of(lambda: convolutional(nn.ReLU), 1), images(0.0)
    target, network = torch.tensor([0, 1, 2, 3, 0, 1]), ensemble.module()
    rule, other = RULES[name]
    layers = [(zennit.types.Linear, other(zennit.rules))]
    composite = zennit.composites.LayerMapComposite(layers + zennit.composites.layer_map_base())
    way = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    t = x.clone().requires_grad_()
    with composite.context(network) as hooked:
        out = hooked(t)
        start = out * torch.nn.functional.one_hot(target, 4)
        (theirs,) = torch.autograd.grad(out, t, start, create_graph=True)
        with composite.inactive():
            (theirs_back,) = torch.autograd.grad((theirs * way).sum(), t)
    u = x.clone().requires_grad_()
    weights = {k: v[0] for k, v in ensemble.weights.items()}
    ours = heatmap(ensemble.network, weights, u, Composite(rule, sums=FIXED), target=target)
    (ours_back,) = torch.autograd.grad((ours * way).sum(), u)
    assert_same(ours, theirs.detach())
    assert_same(ours_back, theirs_back, 1e-8)
