"""Our gradient methods, DeepLIFT and LRP against Captum in float64, where Captum is right."""

import pytest
import torch
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.deep_lift import deep_lift
from holdfast.explanations.gradient_times_input import gradient_times_input
from holdfast.explanations.integrated_gradients import integrated_gradients
from holdfast.explanations.lrp import lrp
from holdfast.explanations.relevance import AlphaBeta, Composite, Epsilon, Gamma, Stabiliser
from holdfast.explanations.saliency import saliency
from holdfast.explanations.smooth_grad import smooth_grad

pytestmark = [
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning"),
    pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients:UserWarning"),
]


class Network(nn.Module):
    """Two convolutions, a pool, two linear layers; every activation a module of its own, as Captum needs it."""

    def __init__(self, activation=nn.ReLU, pool=nn.AvgPool2d, bias=True):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=bias),
            activation(),
            pool(2),
            nn.Conv2d(4, 6, 3, bias=bias),
            activation(),
        )
        self.head = nn.Sequential(nn.Linear(24, 8, bias=bias), activation(), nn.Linear(8, 3, bias=bias))

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


def ensemble_of(*arguments, count=2):
    torch.manual_seed(0)
    return Ensemble.from_networks([Network(*arguments).double() for _ in range(count)])


def images():
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(4, 2, 8, 8, dtype=torch.float64, generator=generator) for _ in range(2)]


TARGET = torch.tensor([0, 1, 2, 1])


def each_draw(ensemble, explain):
    return torch.stack([explain(ensemble.module(s)).detach() for s in range(len(ensemble))])


def assert_same(ours, theirs, tolerance=1e-10):
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() < tolerance * theirs.abs().max()


def test_saliency_and_gradient_times_input(captum_attr):
    ensemble, (x, _) = ensemble_of(nn.ReLU, nn.MaxPool2d), images()
    theirs = each_draw(ensemble, lambda n: captum_attr.Saliency(n).attribute(x, TARGET, abs=False))
    assert_same(saliency(ensemble, x, TARGET), theirs)
    theirs = each_draw(ensemble, lambda n: captum_attr.Saliency(n).attribute(x, TARGET))
    assert_same(saliency(ensemble, x, TARGET, absolute=True), theirs)
    theirs = each_draw(ensemble, lambda n: captum_attr.InputXGradient(n).attribute(x, TARGET))
    assert_same(gradient_times_input(ensemble, x, TARGET), theirs)


@pytest.mark.parametrize("ours", ["gauss_legendre", "left", "middle", "right"])
def test_integrated_gradients(captum_attr, ours):
    """The trapezoid rule is left out: Captum's weights add up to (n - 1) / n."""
    name = {"gauss_legendre": "gausslegendre"}.get(ours, f"riemann_{ours}")
    ensemble, (x, baseline) = ensemble_of(nn.Softplus), images()

    def theirs(network):
        return captum_attr.IntegratedGradients(network).attribute(x, baseline, TARGET, method=name, n_steps=9)

    maps = integrated_gradients(ensemble, x, TARGET, baseline=baseline, steps=9, quadrature=ours)
    assert_same(maps, each_draw(ensemble, theirs), 1e-7)  # Captum's points and weights are float32


def test_smooth_grad_on_the_same_noise(captum_attr, monkeypatch):
    ensemble, (x, _) = ensemble_of(nn.Softplus), images()
    generator = torch.Generator().manual_seed(3)
    noise = torch.stack([torch.randn(x.shape, generator=generator, dtype=torch.float64) for _ in range(5)], 1)
    monkeypatch.setattr(torch, "normal", lambda mean, deviation: noise.flatten(0, 1) * deviation)

    def theirs(network):
        tunnel = captum_attr.NoiseTunnel(captum_attr.Saliency(network))
        return tunnel.attribute(x, target=TARGET, nt_type="smoothgrad", nt_samples=5, stdevs=0.25, abs=False)

    maps = smooth_grad(ensemble, x, TARGET, copies=5, spread=0.25, seed=3)
    assert_same(maps, each_draw(ensemble, theirs))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Softplus])
def test_deep_lift_without_maximum_pools(captum_attr, activation):
    """With nn.MaxPool2d Captum 0.9 fails its own check of completeness; ours is tested against a matrix rewrite."""
    ensemble, (x, baseline) = ensemble_of(activation), images()
    theirs = each_draw(ensemble, lambda n: captum_attr.DeepLift(n).attribute(x, baseline, TARGET))
    assert_same(deep_lift(ensemble, x, TARGET, baseline=baseline), theirs, 1e-9)


def captum_lrp(captum_attr, ensemble, x, make_rule):
    def explain(network):
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.AvgPool2d):
                pool = isinstance(module, nn.AvgPool2d)
                module.rule = captum_rules(captum_attr).EpsilonRule(1e-9) if pool else make_rule()
        return captum_attr.LRP(network).attribute(x, TARGET)

    return each_draw(ensemble, explain)


def captum_rules(captum_attr):
    from captum.attr._utils import lrp_rules

    return lrp_rules


def test_lrp_epsilon(captum_attr):
    ensemble, (x, _) = ensemble_of(), images()
    rules = captum_rules(captum_attr)
    for epsilon in (1e-6, 0.1):
        theirs = captum_lrp(captum_attr, ensemble, x, lambda epsilon=epsilon: rules.EpsilonRule(epsilon))
        rule = Composite(Epsilon(epsilon), sums=Stabiliser(1e-9, relative=False))
        assert_same(lrp(ensemble, x, TARGET, rule=rule), theirs)


@pytest.mark.parametrize("name", ["gamma", "alpha1_beta0"])
def test_lrp_gamma_and_alpha1_beta0_without_biases(captum_attr, name):
    """With biases Captum leaves them unmodified in the denominators; its gamma rule is that for positive outputs."""
    ensemble, (x, _) = ensemble_of(nn.ReLU, nn.AvgPool2d, False), images()
    rules, fixed = captum_rules(captum_attr), Stabiliser(1e-9, relative=False)
    ours = Gamma(0.25, stabiliser=fixed) if name == "gamma" else AlphaBeta(1.0, 0.0, stabiliser=fixed)
    make = rules.GammaRule if name == "gamma" else rules.Alpha1_Beta0_Rule
    theirs = captum_lrp(captum_attr, ensemble, x, make)
    positive = ensemble.logits(x)[:, torch.arange(4), TARGET] > 0
    assert positive.any()
    maps = lrp(ensemble, x, TARGET, rule=Composite(ours, sums=fixed))
    assert_same(maps[positive], theirs[positive], 1e-7)
