"""What the tape knows of values (no input below zero, a ReLU that follows) saves work and must never change a map."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast.explanations import (
    AlphaBeta,
    Composite,
    Epsilon,
    Gamma,
    Pass,
    Stabiliser,
    ZPlus,
    heatmap,
    lrp,
    strongest_units,
)
from holdfast.explanations.relevance import registry
from holdfast.explanations.relevance.tape import Call
from holdfast.networks.filter_response import FilterResponseNorm

EYE = torch.eye(6, dtype=torch.float64)
RULES = {"epsilon": Epsilon(), "gamma": Gamma(), "alpha 2 beta 1": AlphaBeta(), "z+": ZPlus()}


class Net(nn.Module):
    """A forward function with modules of its own."""

    def __init__(self, forward, **modules):
        super().__init__()
        self.run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.run(self, x)


def images(*shape):
    return torch.rand(3, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def made(network, seed=0):
    g = torch.Generator().manual_seed(seed)
    for p in network.parameters():
        p.data = torch.randn(p.shape, generator=g, dtype=torch.float64) / max(1, p[0].numel()) ** 0.5
    for m in network.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3, generator=g)
            m.running_var.uniform_(0.5, 2, generator=g)
    return network.double().eval()


def linear(between):
    return Net(lambda m, x: m.b(between(m.a(x))), a=nn.Linear(6, 7), b=nn.Linear(7, 3))


MASK = torch.tensor([True, False, False, True, False, False, False])
BETWEEN = {
    "relu": torch.relu,
    "relu6": lambda h: F.relu6(30 * h),
    "relu, sigmoid": lambda h: h.relu().sigmoid(),
    "relu, softplus": lambda h: F.softplus(h.relu()),
    "relu, clamp": lambda h: h.relu().clamp(min=0.3),
    "relu, maximum": lambda h: torch.maximum(h.relu(), torch.tensor(0.3, dtype=torch.float64)),
    "relu, threshold": lambda h: F.threshold(h.relu(), 0.2, 0.5),
    "relu, gelu": lambda h: F.gelu(h.relu()),
    "relu, plus a constant": lambda h: h.relu() + 0.5,
    "relu, times a constant": lambda h: h.relu() * -2.0,
    "relu, masked": lambda h: h.relu().masked_fill(MASK, -1.0),
    "relu, masked above": lambda h: h.relu().masked_fill(MASK, 1.0),
    "relu, twice": lambda h: h.relu() + h.relu() * h,
    "relu and what it was": lambda h: h.relu() + 0.5 * h,
    "relu, dropout in place": lambda h: F.dropout(h.relu(), 0.5, False, True),
    "softmax of relu": lambda h: h.relu().softmax(-1),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_maps_are_the_same_without_shortcuts(between, rule, monkeypatch):
    network, x = made(linear(between)), images(6)
    assert_same_without_shortcuts(network, x, rule, monkeypatch)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("value", [-1.0, 0.0, 2.0])
def test_padding_below_zero_is_not_above(value, rule, monkeypatch):
    pad = lambda m, x: m.fc(F.conv2d(F.pad(x, (1, 1, 1, 1), value=value), m.conv.weight).relu().flatten(1))
    network = made(Net(pad, conv=nn.Conv2d(2, 3, 3), fc=nn.Linear(48, 3)))
    assert_same_without_shortcuts(network, images(2, 4, 4), rule, monkeypatch)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_residual_networks_are_the_same_without_shortcuts(rule, monkeypatch):
    def forward(m, x):
        h = m.bn(m.one(x)).relu()
        h = (h + m.two(m.one_more(h).relu_())).relu()
        return m.fc(F.avg_pool2d(h, 2).flatten(1))

    parts = dict(bn=nn.BatchNorm2d(4), one=nn.Conv2d(2, 4, 3, padding=1))
    parts |= dict(one_more=nn.Conv2d(4, 4, 3, padding=1), two=nn.Conv2d(4, 4, 1), fc=nn.Linear(16, 3))
    assert_same_without_shortcuts(made(Net(forward, **parts)), images(2, 4, 4), rule, monkeypatch)


def assert_same_without_shortcuts(network, x, rule, monkeypatch):
    quick = lrp(network, x, 1, rule=rule)[0]
    weights = {k: v.detach() for k, v in (*network.named_parameters(), *network.named_buffers())}
    monkeypatch.setattr(Call, "nonneg", lambda call: False)
    monkeypatch.setattr(registry, "RECTIFIERS", {})
    slow = heatmap(network, weights, x, rule, target=1)
    # where an output has contributions of one sign only, those of the other are rounding noise over the stabiliser
    torch.testing.assert_close(quick, slow, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("start", ["logit", "margin", "one"])
def test_relevance_that_starts_below_zero_does_not_care_for_a_relu_that_also_looks(start):
    def looks(m, x):
        z = m.fc(x)
        m.seen = z.relu()
        return z

    plain, looked = (made(Net(f, fc=nn.Linear(6, 3))) for f in (lambda m, x: m.fc(x), looks))
    x = images(6)
    target = plain(x).argmin(1)
    torch.testing.assert_close(lrp(looked, x, target, start=start), lrp(plain, x, target, start=start))


def test_units_below_zero_are_explained_alike_alone_and_with_a_layer_behind():
    network = made(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    x = images(6)
    unit = network[0](x).argmin(1)
    both = lrp(network, x, {"0": unit}, layer=["0", "1"], view="unit")["0"]
    torch.testing.assert_close(both, lrp(network, x, unit, layer="0", view="unit"))


NORMS = {
    "layer": (nn.LayerNorm(8), nn.LayerNorm([4, 5, 5])),
    "RMS": (nn.RMSNorm(8), nn.RMSNorm([4, 5, 5])),
    "group": (nn.GroupNorm(2, 8), nn.GroupNorm(2, 4)),
    "instance": (None, nn.InstanceNorm2d(4, affine=True)),
    "filter response": (None, FilterResponseNorm(4)),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("alone", [Epsilon(), Pass()], ids=["epsilon", "pass"])
def test_norms_by_an_images_own_statistics_stand_alone_behind_maps(norm, alone):
    dense, spatial = NORMS[norm]
    cases = []
    if dense is not None:
        parts = dict(a=nn.Linear(6, 8), norm=dense, b=nn.Linear(8, 3))
        cases.append((lambda m, x, k=1: m.b((m.norm(k * m.a(x))).relu()), parts, images(6)))
    parts = dict(a=nn.Conv2d(2, 4, 2), norm=spatial, b=nn.Linear(100, 3))
    cases.append((lambda m, x, k=1: m.b(m.norm(k * m.a(x)).relu().flatten(1)), parts, images(2, 6, 6)))
    for forward, parts, x in cases:
        network = made(Net(forward, **parts))
        rule = Composite(Gamma(), norm=alone)
        maps = lrp(network, x, 0, rule=rule)
        one_by_one = torch.cat([lrp(network, x[i : i + 1], 0, rule=rule) for i in range(len(x))], 1)
        torch.testing.assert_close(maps, one_by_one)
        apart = Net(lambda m, x, f=forward: f(m, x, 1.0), **parts)  # a product between map and norm: nothing to fold
        torch.testing.assert_close(maps, lrp(apart.eval(), x, 0, rule=rule))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_images_of_a_sequence_network_do_not_influence_each_other(batch_first, norm_first):
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=batch_first, norm_first=norm_first)
    turn = (lambda t: t) if batch_first else (lambda t: t.transpose(0, 1))
    network = Net(lambda m, x: m.fc(turn(m.layer(turn(x))).mean(1)), layer=layer, fc=nn.Linear(8, 3))
    network, x = made(network), images(5, 8)
    with torch.no_grad():
        network(x)
    together = lrp(network, x, 0)
    alone = torch.cat([lrp(network, x[i : i + 1], 0) for i in range(len(x))], 1)
    torch.testing.assert_close(together, alone)


def test_queries_that_see_nothing_have_no_relevance_and_spoil_none():
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[3] = False
    attend = lambda m, x: m.fc(F.scaled_dot_product_attention(x, x, x, attn_mask=mask).flatten(1))
    network, x = made(Net(attend, fc=nn.Linear(24, 3))), images(4, 6)
    assert torch.isfinite(network(x)).all()
    assert torch.isfinite(lrp(network, x, 0)).all()
    torch.testing.assert_close(lrp(network, x, 0, layer="", start="logit").sum(-1)[0], network(x)[:, 0].detach())


def in_place(change):
    def forward(m, x):
        z = m.fc(x)
        change(z)
        return z

    return forward


def test_logits_changed_in_place_are_the_logits():
    for change, plain in ((lambda z: z.div_(4.0), lambda z: z / 4), (lambda z: z.relu_(), torch.relu)):
        one = made(Net(in_place(change), fc=nn.Linear(6, 3)))
        other = made(Net(lambda m, x, plain=plain: plain(m.fc(x)), fc=nn.Linear(6, 3)))
        x = images(6)
        torch.testing.assert_close(lrp(one, x, 0), lrp(other, x, 0))
        torch.testing.assert_close(lrp(one, x, 0, layer=""), lrp(other, x, 0, layer=""))
    inner = Net(in_place(lambda h: h.mul_(-3)), fc=nn.Linear(6, 5))
    network, x = made(nn.Sequential(inner, nn.Linear(5, 3))), images(6)
    assert torch.equal(strongest_units(network, x, "0")[0], inner(x).argmax(1))


def test_memory_formats_dropout_in_place_and_casts():
    def forward(m, x):
        h = F.dropout(m.one(x).relu(), 0.2, m.training, True)
        h = m.two(F.max_pool2d(h, 2)).relu()
        return m.fc(h.view(h.size(0), -1).type(torch.float64))

    parts = dict(one=nn.Conv2d(2, 4, 3), two=nn.Conv2d(4, 5, 2), fc=nn.Linear(20, 3))
    network, x = made(Net(forward, **parts)), images(2, 8, 8)
    weights = {k: v.detach() for k, v in network.named_parameters()}
    torch.testing.assert_close(lrp(network, x, 0)[0], heatmap(network, weights, x, target=0))
    exact = Epsilon(1e-12, stabiliser=Stabiliser(1e-12, relative=False))
    t = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(t)[:, 0].sum(), t)
    no_bias = made(Net(forward, **parts))
    for module in (no_bias.one, no_bias.two, no_bias.fc):
        module.bias = None
    t = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(no_bias(t)[:, 0].sum(), t)
    torch.testing.assert_close(lrp(no_bias, x, 0, rule=exact)[0], gradient * x, rtol=1e-6, atol=1e-9)


def test_old_weight_norm_works_and_the_network_stays_as_it_was():
    with pytest.warns(FutureWarning):
        layer = nn.utils.weight_norm(nn.Linear(6, 4))
    network = nn.Sequential(layer, nn.ReLU(), nn.Linear(4, 3)).double().eval()
    x = images(6)
    network(x)
    plain = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).double().eval()
    plain[0].weight.data, plain[0].bias.data = layer.weight.detach().clone(), layer.bias.detach().clone()
    plain[2].load_state_dict(network[2].state_dict())
    torch.testing.assert_close(lrp(network, x, 0), lrp(plain, x, 0))

    def counts(m, x):
        m.calls += 1
        return m.fc(x)

    counting = Net(counts, fc=nn.Linear(6, 3)).double().eval()
    counting.register_buffer("calls", torch.zeros(()))
    lrp(counting, x, 0)
    assert counting.calls == 0


REFUSED = {
    "part of a constant in place": (
        lambda m, x: m.fc(x) + fill_in(m.fc(x)),
        NotImplementedError,
        "changes a part of a constant tensor in place",
    ),
    "out": (lambda m, x: m.fc(torch.mul(x, 2, out=torch.empty_like(x))), NotImplementedError, "out= writes"),
}


def fill_in(h):
    constant = torch.zeros_like(h)
    constant[:, :2].add_(h[:, :2])
    return constant


def test_what_the_tape_cannot_follow_is_refused():
    for forward, kind, message in REFUSED.values():
        with pytest.raises(kind, match=message):
            lrp(made(Net(forward, fc=nn.Linear(6, 3))), images(6), 0)


def test_wrong_requests_are_refused_in_words():
    network, x = made(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))), images(6)
    cases = [
        (lambda: lrp(network, images(5), 0), ValueError, r"does not take images of shape \(5,\)"),
        (
            lambda: lrp(network, x, torch.tensor([0, 1, 4]), layer="0", view="unit"),
            ValueError,
            r"layer '0' has units 0\.\.3, got indices from 0 to 4",
        ),
        (
            lambda: lrp(network, x, {"zero": torch.tensor([0, 1, 2])}, layer="0", view="unit"),
            ValueError,
            "units are given for layer 'zero', which is not among those asked for",
        ),
        (lambda: lrp(network, x, 0, layer=5), TypeError, "layer must be the name of a module, or a list of names"),
        (lambda: lrp(network, x, 0, memory=0), ValueError, "memory must lie in"),
        (lambda: lrp(network, x, 0, memory="1GB"), TypeError, "memory must be a whole number"),
        (lambda: lrp(network, x, 0, reduce=[0.1]), ValueError, "reduce must be None"),
        (lambda: Gamma(-1.0), ValueError, r"Gamma: gamma must lie in \[0"),
        (lambda: Gamma("a"), TypeError, "Gamma: gamma must be a number"),
        (lambda: Gamma(stabiliser=1e-3), TypeError, "stabiliser must be a Stabiliser"),
        (lambda: Stabiliser(float("inf")), ValueError, "epsilon must be a number above 0"),
        (lambda: strongest_units(network, x, "9"), ValueError, "strongest_units: the network has no module '9'"),
    ]
    for call, kind, message in cases:
        with pytest.raises(kind, match=message):
            call()
    spoilt = made(nn.Sequential(nn.Linear(6, 3)))
    spoilt[0].weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="the network returns NaN"):
        lrp(spoilt, x, 0)
    assert set(lrp(network, x, 0, layer=["0", "0"])) == {"0"}


def test_a_unit_of_a_module_that_runs_twice_is_refused_and_more_functions_have_rules():
    twice = made(Net(lambda m, x: m.fc(m.a(m.a(x).relu())), a=nn.Linear(6, 6), fc=nn.Linear(6, 3)))
    with pytest.raises(ValueError, match="runs more than once"):
        lrp(twice, images(6), torch.tensor([0, 1, 2]), layer="a", view="unit")
    exact = Composite(Epsilon(1e-13), sums=Stabiliser(1e-13, relative=False))
    for function in (
        lambda x: F.normalize(x) * 3,
        lambda x: torch.hstack([x, x]).ravel().view(len(x), -1)[:, :6],
        lambda x: torch.baddbmm(x[:, None], x[:, None], EYE.expand(len(x), 6, 6), alpha=0.5)[:, 0],
    ):
        network, x = made(Net(lambda m, x, f=function: m.fc(f(x)), fc=nn.Linear(6, 3, bias=False))), images(6)
        maps = lrp(network, x, 0, rule=exact)[0]
        torch.testing.assert_close(maps.sum(-1), network(x)[:, 0].detach(), rtol=1e-3, atol=1e-6)


def test_all_classes_keep_to_the_memory():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 100)).eval()
    from holdfast.ensemble import Ensemble
    from holdfast.explanations.relevance.explainer import pieces

    x = torch.rand(64, 3, 16, 16)
    blocks = pieces(Ensemble.from_networks(network), x, 1 << 25, 100)
    block = blocks[0][0].images
    assert (block.stop - block.start) * 100 * x[0].numel() * 4 <= 1 << 25
    every = lrp(network, x, "all", memory=1 << 25)
    torch.testing.assert_close(every[:, :, 7], lrp(network, x, 7))
