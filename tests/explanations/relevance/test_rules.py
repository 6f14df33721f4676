"""Every rule against its definition by explicit matrices in float64; conservation for each treatment of the bias."""

import pytest
import torch
from little_networks import NETWORKS, settle
from slow_rewrite import relevance
from torch import nn

from holdfast.explanations import lrp
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
)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")

FIXED, RELATIVE = Stabiliser(1e-3, relative=False), Stabiliser(1e-2)
RULES = {
    "zero": Epsilon(1e-12),
    "epsilon": Epsilon(1e-2),
    "epsilon relative": Epsilon(stabiliser=RELATIVE),
    "gamma": Gamma(0.3, stabiliser=FIXED),
    "gamma relative": Gamma(stabiliser=RELATIVE),
    "alpha2 beta1": AlphaBeta(2, 1, stabiliser=FIXED),
    "alpha1.5 beta0.5 relative": AlphaBeta(1.5, 0.5, stabiliser=RELATIVE),
    "z+": ZPlus(stabiliser=FIXED),
    "w2": WSquare(stabiliser=FIXED),
    "flat": Flat(stabiliser=RELATIVE),
    "z-box": ZBox(-2.5, 3.0, stabiliser=FIXED),
}
SUMS = Stabiliser(1e-4)


def images(shape, nonneg, count=2):
    x = torch.randn(count, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return x.abs() if nonneg else x


def logit(out):
    return torch.where(out == out.amax(-1, keepdim=True), out, 0.0)


def close(found, expected, tolerance=1e-10):
    return float((found - expected).abs().max() / expected.abs().max()) < tolerance


@pytest.mark.parametrize("nonneg", [False, True], ids=["signed", "nonneg"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule_equals_its_matrix_form(name, rule, nonneg):
    network, rule = settle(NETWORKS[name]()), RULES[rule]
    x = images(network.shape, nonneg)
    norm = Epsilon(1e-3)
    expected = relevance(network.steps(), x, logit, lambda i: norm if i is None else rule, SUMS)
    found = lrp(network, x, rule=Composite(rule, norm=norm, sums=SUMS), start=logit)[0]
    assert close(found, torch.cat([r["x"] for r in expected]))


@pytest.mark.parametrize("bias", ["absorb", "share", "ignore"])
@pytest.mark.parametrize("rule", RULES)
def test_bias_treatments_equal_their_matrix_form(rule, bias):
    rule = RULES[rule]
    rule = type(rule)(**{**vars(rule), "bias": bias})
    for name, nonneg in (("Strided", True), ("Residual", False), ("Transposed", True), ("Dense", False)):
        network = settle(NETWORKS[name]())
        x, norm = images(network.shape, nonneg), Epsilon(1e-3, bias=bias)
        expected = relevance(network.steps(), x, logit, lambda i: norm if i is None else rule, SUMS)  # noqa: B023
        found = lrp(network, x, rule=Composite(rule, norm=norm, sums=SUMS), start=logit)[0]
        assert close(found, torch.cat([r["x"] for r in expected])), name


@pytest.mark.parametrize("start", ["logit", "one", "margin"])
def test_relevance_at_every_layer_and_every_start(start):
    network = settle(NETWORKS["Strided"]())
    x, target = images(network.shape, False), torch.tensor([2, 0])
    rule = Gamma(0.2, stabiliser=FIXED)

    def begin(out):
        c = int(target[begin.image])
        begin.image += 1
        r = torch.zeros_like(out)
        r[0, c] = 1.0 if start == "one" else out[0, c]
        if start == "margin":
            rival = out.clone()
            rival[0, c] = -torch.inf
            r[0, rival.argmax()] = -out[0, rival.argmax()]
        return r

    begin.image = 0
    expected = relevance(network.steps(), x, begin, lambda i: rule, SUMS)
    layers = {"input": "x", "c1": "1", "c2": "4", "c3": "6", "f1": "11", "f2": "13", "": "13"}
    found = lrp(network, x, target, rule=Composite(rule, sums=SUMS), start=start, layer=list(layers))
    for layer, step in layers.items():
        assert close(found[layer][0], torch.cat([r[step] for r in expected])), layer


@pytest.mark.parametrize("rule", ["zero", "gamma", "alpha2 beta1", "z+", "w2", "flat", "z-box"])
@pytest.mark.parametrize("bias", ["share", "ignore"])
def test_relevance_is_conserved_unless_the_bias_absorbs(rule, bias):
    rule = RULES[rule]
    tiny = Stabiliser(1e-13, relative=False)
    settings = {**vars(rule), "bias": bias, "stabiliser": tiny}
    settings |= {"epsilon": None} if "epsilon" in settings else {}
    rule = type(rule)(**settings)
    layers = (nn.Conv2d(2, 5, 3, 2, 1), nn.BatchNorm2d(5), nn.LeakyReLU(0.2), nn.Conv2d(5, 4, 3, padding=1), nn.Tanh())
    network = settle(nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 3)))  # no unit is ever off
    x = images((2, 12, 12), False)
    rules = Composite(rule, norm=Epsilon(stabiliser=tiny, bias=bias), sums=tiny)
    found = lrp(network, x, rule=rules, start="one")[0].flatten(1).sum(1)
    assert torch.allclose(found, torch.ones_like(found), atol=1e-7)
    kept = lrp(network, x, rule=Composite(Epsilon(1e-13), sums=tiny), start="one")[0].flatten(1).sum(1)
    assert (kept - 1).abs().min() > 1e-3  # the biases of this network do absorb


def test_epsilon_to_zero_is_gradient_times_input():
    for name in ("Strided", "Residual", "Dense"):
        network = settle(NETWORKS[name]())
        if name == "Strided":
            network.forward = relu_only.__get__(network)
        x = images(network.shape, False).requires_grad_()
        out = network(x)
        (gradient,) = torch.autograd.grad(out.amax(-1).sum(), x)
        tiny = Stabiliser(1e-14, relative=False)
        found = lrp(network, x.detach(), rule=Composite(Epsilon(1e-14), norm=Epsilon(1e-14), sums=tiny))[0]
        assert close(found, gradient * x.detach(), 1e-8), name


def relu_only(self, x):
    h = torch.max_pool2d(self.c1(x).relu(), 2, 1)
    h = torch.nn.functional.avg_pool2d(self.c3(self.c2(h).relu()).relu(), 3, 1, 1)
    return self.f2(self.f1(torch.max_pool2d(h, 2, 2).flatten(1)).relu())


def test_rules_say_what_is_wrong():
    with pytest.raises(ValueError, match="alpha - beta must be 1"):
        AlphaBeta(2, 2)
    with pytest.raises(ValueError, match="epsilon must be a number above 0, got 0"):
        Epsilon(0)
    with pytest.raises(ValueError, match="bias must be 'absorb', 'share' or 'ignore', got 'drop'"):
        Gamma(bias="drop")
    with pytest.raises(TypeError, match=r"rule must be a rule like Epsilon\(\), a composite, or a function"):
        lrp(torch.nn.Linear(3, 2), torch.rand(1, 3), rule=Epsilon)
