"""A plain `+` and a module used twice: zennit (and Captum, at the `+`) are wrong without a word, ours is right.

Both libraries hook modules. A sum that is no module sends all of the relevance into each of its terms; a module that
runs twice has its inputs of the first run overwritten by those of the second. The judge is a slow rewrite.
"""

import pytest
import torch
from torch import nn

from holdfast.explanations.deep_lift import deep_lift
from holdfast.explanations.integrated_gradients import completeness_error
from holdfast.explanations.lrp import lrp
from holdfast.explanations.relevance import Composite, Epsilon, Stabiliser

EPSILON = 1e-6
TARGET = torch.tensor([0, 1, 2, 1])
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")


class Residual(nn.Module):
    """A sum in the forward, every module used once."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.relu, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        h = self.relu(self.first(x))
        return self.last(self.relu2(self.second(h)) + h)


class Reused(nn.Module):
    """One linear module that runs twice, no sum."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.relu, self.relu2 = nn.Linear(6, 6), nn.Linear(6, 3), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.last(self.relu2(self.first(self.relu(self.first(x)))))


def network_of(kind):
    torch.manual_seed(3)
    return kind().double().eval()


def images():
    return torch.rand(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def epsilon_rule(a, linear, relevance):
    """The rule on one image, unit by unit, in Python numbers."""
    weight, bias = linear.weight.tolist(), linear.bias.tolist()
    back = [0.0] * len(a)
    for j, r in enumerate(relevance):
        z = bias[j] + sum(weight[j][i] * a[i] for i in range(len(a)))
        z += EPSILON if z >= 0 else -EPSILON
        for i in range(len(a)):
            back[i] += a[i] * weight[j][i] / z * r
    return back


def sum_rule(first, second, relevance):
    shares = [(f + s + EPSILON * (1 if f + s >= 0 else -1), f, s) for f, s in zip(first, second)]
    return (
        [f / z * r for (z, f, _), r in zip(shares, relevance)],
        [s / z * r for (z, _, s), r in zip(shares, relevance)],
    )


def slow(network, x):
    maps = []
    for row, target in zip(x, TARGET.tolist()):
        run = lambda linear, a: linear(torch.tensor(a, dtype=torch.float64)).tolist()
        relu = lambda z: [max(v, 0.0) for v in z]
        a = row.tolist()
        h = relu(run(network.first, a))
        second = network.second if isinstance(network, Residual) else network.first
        g = relu(run(second, h))
        top = [p + q for p, q in zip(g, h)] if isinstance(network, Residual) else g
        start = [v if c == target else 0.0 for c, v in enumerate(run(network.last, top))]
        relevance = epsilon_rule(top, network.last, start)
        if isinstance(network, Residual):
            branch, skip = sum_rule(g, h, relevance)
            relevance = [p + q for p, q in zip(epsilon_rule(h, second, branch), skip)]
        else:
            relevance = epsilon_rule(h, second, relevance)
        maps.append(epsilon_rule(a, network.first, relevance))
    return torch.tensor(maps, dtype=torch.float64)


def error(maps, wanted):
    return float((maps - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("kind", [Residual, Reused])
def test_ours_equals_the_slow_rewrite(kind):
    network, x = network_of(kind), images()
    rule = Composite(Epsilon(EPSILON), sums=Stabiliser(EPSILON, relative=False))
    assert error(lrp(network, x, TARGET, rule=rule)[0], slow(network, x)) < 1e-10


@pytest.mark.parametrize("kind", [Residual, Reused])
def test_zennit_is_wrong(zennit, kind):
    network, x = network_of(kind), images()
    layers = [(zennit.types.Linear, zennit.rules.Epsilon(EPSILON))]
    composite = zennit.composites.LayerMapComposite(layers + zennit.composites.layer_map_base())
    start = lambda out: out * torch.nn.functional.one_hot(TARGET, 3)
    with zennit.attribution.Gradient(network, composite) as attribute:
        maps = attribute(x, start)[1].detach()
    assert error(maps, slow(network, x)) > 0.1
    if kind is Residual:  # without biases relevance is conserved, but here every sum doubles it
        for linear in (network.first, network.second, network.last):
            nn.init.zeros_(linear.bias)
        with zennit.attribution.Gradient(network, composite) as attribute:
            out, maps = attribute(x, start)
        torch.testing.assert_close(maps.sum(-1).detach(), 2 * out.detach()[range(4), TARGET], rtol=0.02, atol=0)
        ours = lrp(network, x, TARGET, rule=Epsilon(EPSILON))[0]
        torch.testing.assert_close(ours.sum(-1), out.detach()[range(4), TARGET], rtol=0.02, atol=0)


def test_captum_is_wrong_or_refuses(captum_attr):
    from captum.attr._utils.lrp_rules import EpsilonRule

    def explain(kind):
        network = network_of(kind)
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.rule = EpsilonRule(EPSILON)
        return captum_attr.LRP(network).attribute(images(), TARGET).detach()

    assert error(explain(Residual), slow(network_of(Residual), images())) > 0.1
    with pytest.raises(RuntimeError, match="used more than once"):
        explain(Reused)


def test_deep_lift_of_a_module_used_twice(captum_attr):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last, self.relu = nn.Linear(6, 6), nn.Linear(6, 3), nn.ReLU()

        def forward(self, x):
            return self.last(self.relu(self.first(self.relu(self.first(x)))))

    network, x = network_of(Twice), images()
    try:
        theirs = captum_attr.DeepLift(network).attribute(x, 0 * x, TARGET).detach()[None]
        assert completeness_error(network, x, theirs, TARGET).abs().max() > 1e-3
    except RuntimeError:
        pass  # some releases refuse
    ours = deep_lift(network, x, TARGET)
    assert completeness_error(network, x, ours, TARGET).abs().max() < 1e-12
