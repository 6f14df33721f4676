"""The public face of LRP: shapes, targets, layers, reductions, memory, errors, and the model left as it was."""

import copy
import warnings
from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Quantiles,
    Stabiliser,
    TopCounts,
    ZBox,
    ZPlus,
    by_depth,
    by_kind,
    by_name,
    epsilon_alpha2_beta1,
    epsilon_gamma_box,
    epsilon_plus_flat,
    lrp,
    strongest_units,
)
from holdfast.explanations.relevance import explainer


def small(width=6):
    layers = (nn.Conv2d(1, width, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * width, 5), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(5, 4)).eval()


def ensemble(draws=5, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Ensemble.from_networks([small() for _ in range(draws)])


X = torch.rand(7, 1, 6, 6, generator=torch.Generator().manual_seed(1))


def test_shapes_and_a_module_in_place_of_an_ensemble():
    e = ensemble()
    assert lrp(e, X).shape == (5, 7, 1, 6, 6)
    one = e.module(2)
    assert torch.allclose(lrp(one, X, 3), lrp(e, X, 3)[2:3], rtol=1e-4, atol=1e-6)
    everything = lrp(e, X, "all")
    assert everything.shape == (5, 7, 4, 1, 6, 6)
    for c in range(4):
        assert torch.allclose(everything[:, :, c], lrp(e, X, c), rtol=1e-4, atol=1e-6)


def test_by_default_the_class_of_the_model_average_is_explained_under_every_draw():
    e = ensemble()
    assert torch.equal(lrp(e, X), lrp(e, X, e.predict(X)))
    own = e.logits(X).argmax(-1)
    assert (own != e.predict(X)).any()  # else this test could not tell


def test_several_layers_and_rules_in_one_call_equal_one_at_a_time():
    e, names = ensemble(), ["input", "0", "2", "4", "6", ""]
    together = lrp(e, X, 1, rule=Gamma(), layer=names)
    assert list(together) == names
    for name in names:
        assert torch.equal(together[name], lrp(e, X, 1, rule=Gamma(), layer=name)), name
    assert torch.equal(together["input"], lrp(e, X, 1, rule=Gamma()))
    logits = e.logits(X)
    assert torch.allclose(together[""][..., 1], logits[..., 1])
    assert together[""][..., [0, 2, 3]].abs().max() == 0


def test_units_are_chosen_anew_or_kept():
    e, other = ensemble(), X.flip(-1)
    units = strongest_units(e, X, "1")
    assert units.shape == (5, 7)
    activation = torch.stack([e.module(s)[:2](X).flatten(1) for s in range(5)])
    assert torch.equal(units, activation.argmax(-1))
    assert torch.equal(lrp(e, X, units, layer="1", view="unit"), lrp(e, X, layer="1", view="unit"))
    kept, anew = (lrp(e, other, u, layer="1", view="unit") for u in (units, None))
    changed = strongest_units(e, other, "1") != units
    assert changed.any()
    assert torch.equal(kept[~changed], anew[~changed])
    assert not torch.allclose(kept[changed], anew[changed])
    value = torch.stack([e.module(s)[:2](other).flatten(1) for s in range(5)]).gather(-1, units[..., None])[..., 0]
    free = copy.deepcopy(e)
    free.weights["0.bias"].zero_()
    bare = torch.stack([free.module(s)[:2](other).flatten(1) for s in range(5)]).gather(-1, units[..., None])[..., 0]
    explained = lrp(free, other, units, rule=Epsilon(1e-9), layer="1", view="unit").flatten(2).sum(-1)
    assert torch.allclose(explained, bare, atol=1e-5)  # the whole activation is handed to the pixels
    assert not torch.allclose(value, bare)
    both = lrp(e, other, {"1": units, "5": None}, layer=["1", "5"], view="unit")
    assert torch.equal(both["1"], kept)


def test_a_unit_that_is_off_does_not_take_the_short_cut_of_units_that_are_on():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 2.0, -6.0], [1.0, 1.0, 1.0]]))
        net[0].bias.zero_()
    x = torch.tensor([[1.0, 1.0, 1.0]])  # the first unit is off: z = -3
    rule = Gamma(1.0, stabiliser=Stabiliser(1e-9, relative=False))
    found = lrp(net, x, torch.tensor([0]), rule=rule, start="one", layer="1", view="unit")[0, 0]
    assert torch.allclose(found, torch.tensor([1.0, 2.0, -12.0]) / -9)  # negative outputs favour negative contributions


def test_start_may_be_a_function_and_margin_is_a_difference():
    e = ensemble()
    double = lrp(e, X, start=lambda out: 2 * torch.eye(4)[1] * out)
    assert torch.allclose(double, 2 * lrp(e, X, 1), rtol=1e-5, atol=1e-7)
    net = nn.Sequential(nn.Flatten(), nn.Linear(36, 3, bias=False))
    logits = net(X).detach()
    rival = logits.clone().index_fill(1, torch.tensor([2]), -torch.inf).amax(1)
    found = lrp(net, X, 2, rule=Epsilon(1e-12), start="margin").flatten(2).sum(-1)[0]
    assert torch.allclose(found, logits[:, 2] - rival, atol=1e-5)


def test_reductions_equal_reducing_all_draws():
    e = ensemble(9)
    full = lrp(e, X, 1)
    assert torch.allclose(lrp(e, X, 1, reduce="mean"), full.mean(0), atol=1e-7)
    assert torch.allclose(lrp(e, X, 1, reduce="variance"), full.var(0), atol=1e-9)
    assert torch.allclose(lrp(e, X, 1, reduce="median"), full.quantile(0.5, dim=0), atol=1e-7)
    q = (0.05, 0.5, 0.9)
    assert torch.allclose(lrp(e, X, 1, reduce=Quantiles(q)), full.quantile(torch.tensor(q), dim=0), atol=1e-7)
    counts = torch.zeros(7, 36)
    for image in range(7):
        for m in full[:, image].flatten(1).abs():  # 25 % of 36 pixels; of equal ones the first
            counts[image, sorted(range(36), key=lambda i: (-float(m[i]), i))[:9]] += 1
    counts = counts.view(7, 1, 6, 6)
    assert torch.equal(lrp(e, X, 1, reduce=TopCounts(25)).float(), counts)
    layers = lrp(e, X, 1, layer=["0", "4"], reduce="mean")
    assert torch.allclose(layers["4"], lrp(e, X, 1, layer="4").mean(0), atol=1e-7)
    assert lrp(e[0], X, 1, reduce="variance").abs().max() == 0
    assert lrp(e, X, "all", reduce="mean").shape == (7, 4, 1, 6, 6)


def test_quantiles_take_several_passes_where_memory_is_short(monkeypatch):
    e = ensemble(9)
    monkeypatch.setattr(explainer, "tile_shape", lambda *a: (4, 3))
    whole = lrp(e, X, 1, reduce=Quantiles((0.1, 0.8)))
    short = lrp(e, X, 1, reduce=Quantiles((0.1, 0.8)), memory=3 * 9 * 36 * 4 // 3)
    assert torch.equal(whole, short)


@settings(max_examples=8, deadline=None)
@given(st.integers(18, 31), st.sampled_from([Epsilon(), Gamma(), AlphaBeta()]))
def test_the_answer_does_not_depend_on_memory(power, rule):
    e = ensemble()
    pair = e.pair_bytes(X)
    assert 7 * 5 * pair <= 1 << 18  # one piece fits into every budget tried
    assert torch.equal(lrp(e, X, 1, rule=rule, memory=1 << power), lrp(e, X, 1, rule=rule))


def test_one_by_one_side_by_side_and_block_by_block_agree(monkeypatch):
    e, x = ensemble(), torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(3))
    together = lrp(e, x, 1, rule=Gamma())
    monkeypatch.setattr(explainer, "ONE_BY_ONE", 0)
    assert torch.allclose(lrp(e, x, 1, rule=Gamma()), together, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(explainer, "tile_shape", lambda *a: (2, 16))
    assert torch.allclose(lrp(e, x, 1, rule=Gamma()), together, rtol=1e-4, atol=1e-6)
    assert len(explainer.pieces(e, x, 1 << 30)) == 3


def test_composites_choose_by_kind_depth_and_name():
    e, near = ensemble(), Stabiliser()
    first, linear = Flat(), Epsilon(stabiliser=near)
    by_hand = lambda layer: first if layer.index == 0 else linear
    assert torch.equal(lrp(e, X, 1, rule=epsilon_plus_flat()), lrp(e, X, 1, rule=by_hand))
    assert torch.equal(lrp(e, X, 1, rule=by_depth([first, linear, linear])), lrp(e, X, 1, rule=by_hand))
    assert torch.equal(lrp(e, X, 1, rule=by_name({"0": first}, linear)), lrp(e, X, 1, rule=by_hand))
    assert torch.equal(
        lrp(e, X, 1, rule=epsilon_gamma_box(0, 1)), lrp(e, X, 1, rule=by_depth([ZBox(0, 1), *[linear] * 2]))
    )
    rules = by_kind(convolution=AlphaBeta(2, 1), linear=linear)
    assert torch.equal(lrp(e, X, 1, rule=epsilon_alpha2_beta1()), lrp(e, X, 1, rule=rules))
    seen = []
    lrp(e[0], X[:1], 1, rule=lambda layer: seen.append(layer) or ZPlus())
    assert [(s.name, s.kind, s.index, s.count) for s in reversed(seen)] == [
        ("0", "convolution", 0, 3),
        ("4", "linear", 1, 3),
        ("6", "linear", 2, 3),
    ]
    with pytest.raises(ValueError, match="by_depth: got 2 rules for a network of 3 weighted maps"):
        lrp(e, X, 1, rule=by_depth([linear, linear]))
    with pytest.raises(TypeError, match="the composite chose None for layer '6'; expected a rule"):
        lrp(e, X, 1, rule=lambda layer: None)
    with pytest.raises(ValueError, match="lrp: the composite has a rule for 'fc', which is no module"):
        lrp(e, X, 1, rule=by_name({"fc": first}, linear))


class Everything(nn.Module):
    """A network with much that could be left changed: batch norm, dropout, in-place functions, hooks of its own."""

    def __init__(self):
        super().__init__()
        self.c, self.b, self.drop = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5)
        self.act, self.fc = nn.ReLU(inplace=True), nn.Linear(48, 4)
        self.seen = 0
        self.fc.register_forward_hook(self._count)
        self.c.weight.requires_grad_(False)

    def _count(self, *_):
        self.seen += 1

    def forward(self, x):
        h = self.act(self.b(self.c(x)))
        h = h + 1
        h += 1
        return self.fc(self.drop(h).flatten(1))


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_exactly_as_it_was(fails):
    net = Everything().eval()
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad])
    net(X).sum().backward()
    optimiser.step()
    x = X.clone().requires_grad_()

    def state():
        return {
            "weights": {k: v.clone() for k, v in net.state_dict().items()},
            "gradients": {k: None if p.grad is None else p.grad.clone() for k, p in net.named_parameters()},
            "flags": [p.requires_grad for p in net.parameters()] + [m.training for m in net.modules()],
            "hooks": [
                (dict(m._forward_hooks), dict(m._forward_pre_hooks), dict(m._backward_hooks)) for m in net.modules()
            ],
            "attributes": [sorted(vars(m)) for m in net.modules()],
            "identities": [id(p) for p in net.parameters()],
            "versions": [p._version for p in net.parameters()],
            "optimiser": copy.deepcopy(optimiser.state_dict()),
            "random": torch.get_rng_state(),
            "grad enabled": torch.is_grad_enabled(),
            "image": x.detach().clone(),
            "image gradient": x.grad,
            "image version": x._version,
        }

    before = state()
    if fails:
        net.fc.forward = lambda h: torch.cdist(h, net.fc.weight)
        before = state()
        with pytest.raises(NotImplementedError, match="cdist"):
            lrp(net, x, layer=["c", "act"])
    else:
        lrp(net, x, layer=["c", "act", "input"], rule=Gamma())
        lrp(net, x, layer="b", view="unit")
    after = state()
    assert str(before) == str(after)
    for key in ("weights", "gradients"):
        assert all(a is b or torch.equal(a, b) for a, b in zip(before[key].values(), after[key].values())), key
    for key in ("random", "image"):
        assert torch.equal(before[key], after[key]), key


def test_errors_name_the_call_what_came_and_what_to_do():
    e = ensemble()
    cases = [
        (lambda: lrp(e, X.mul(255).to(torch.uint8)), TypeError, r"lrp: images must be floating point, got torch.uint8"),
        (lambda: lrp(e, X[:0]), ValueError, "expected a batch of at least one image"),
        (lambda: lrp(e, X.clone().fill_(torch.nan)), ValueError, "NaN or infinite"),
        (
            lambda: lrp(e, X.double()),
            TypeError,
            "lrp: images are torch.float64 on cpu, the weights torch.float32 on cpu",
        ),
        (lambda: lrp(3, X), TypeError, "lrp: expected an Ensemble or a torch.nn.Module, got int"),
        (lambda: lrp(e, X, 4), ValueError, r"labels must lie in 0..3 for 4 classes, got values from 4 to 4"),
        (lambda: lrp(e, X, torch.zeros(3, dtype=torch.int64)), ValueError, "expected 7 labels, one per image"),
        (lambda: lrp(e, X, torch.zeros(7)), TypeError, "labels must be a tensor of integers"),
        (lambda: lrp(e, X, "dog"), ValueError, "target must be a class, one class per image, 'all' or None, got 'dog'"),
        (lambda: lrp(e, X, layer="conv"), ValueError, "the network has no module 'conv'; near names: 'input', '', '0'"),
        (lambda: lrp(e, X, layer=[]), ValueError, "layer is an empty list"),
        (lambda: lrp(e, X, view="unit"), ValueError, "say which with layer='NAME'"),
        (lambda: lrp(e, X, view="layer"), ValueError, "view must be 'class' or 'unit', got 'layer'"),
        (lambda: lrp(e, X, start="logits"), ValueError, "start must be one of 'logit', 'one', 'margin' or a function"),
        (lambda: lrp(e, X, start=lambda out: out[:, :1]), ValueError, r"start must return relevance of shape \(7, 4\)"),
        (lambda: lrp(e, X, reduce="max"), ValueError, "reduce must be None, 'mean', 'variance', 'median', Quantiles"),
        (lambda: Quantiles(2), ValueError, r"every quantile must lie in \[0, 1\], got 2"),
        (lambda: TopCounts(0), ValueError, r"percent must lie in \(0, 100\], got 0"),
        (lambda: lrp(e, X, X, layer="0", view="unit"), ValueError, r"the units of layer '0' must be indices \[B\] or"),
        (lambda: lrp(small().train(), X), None, None),
        (
            lambda: lrp(nn.Sequential(nn.Dropout(), small()), X),
            ValueError,
            r"module '0' \(Dropout\) is in training mode",
        ),
        (lambda: lrp(Everything(), X), ValueError, r"module 'b' \(BatchNorm2d\) is in training mode; call eval\(\)"),
    ]
    for call, kind, message in cases:
        if kind is None:
            call()  # nothing in this network behaves differently in training mode
            continue
        with pytest.raises(kind, match=message):
            call()


class Twice(torch.autograd.Function):
    """A custom function; the tape sees what its forward does."""

    @staticmethod
    def forward(ctx, a):
        return 2 * a

    @staticmethod
    def backward(ctx, g):
        return 2 * g


def test_networks_that_cannot_be_explained_say_why():
    class Net(nn.Module):
        def __init__(self, forward):
            super().__init__()
            self.fc, self.unused, self.run = nn.Linear(36, 4), nn.Linear(1, 1), forward

        def forward(self, x):
            return self.run(self, x)

    flat = lambda x: x.flatten(1)
    with warnings.catch_warnings(action="ignore"):
        scripted = torch.jit.script(nn.ReLU())
    cases = [
        (lambda m, x: (m.fc(flat(x)),), TypeError, "the network returned tuple; expected one tensor of logits"),
        (lambda m, x: m.fc.weight[:, :4].expand(len(x), 4, 4)[:, 0], ValueError, "does not descend from the images"),
        (lambda m, x: m.fc(flat(x) + scripted(flat(x))), NotImplementedError, "a way that the tape does not see"),
        (lambda m, x: m.fc(flat(x) + torch.ops.aten.mul(flat(x), 2)), NotImplementedError, r"aten\.mul"),
        (lambda m, x: scripted(m.fc(flat(x))), ValueError, "does not descend from the images"),
        (lambda m, x: x[:, 0], ValueError, r"expected logits of shape \[B, C\] from the network, got \(1, 6, 6\)"),
        (lambda m, x: m.fc(flat(x)).fft_me, AttributeError, "fft_me"),
        (lambda m, x: m.fc(torch.fft.fft(flat(x)).real), NotImplementedError, "torch.fft.fft in the network"),
        (
            lambda m, x: m.fc(flat(x).exp()),
            NotImplementedError,
            r"lrp: torch.Tensor.exp in the network's own forward: it has",
        ),
        (lambda m, x: m.fc(flat(x).exp_()), NotImplementedError, "it has no relevance rule"),
        (lambda m, x: m.fc(torch.from_numpy(flat(x).numpy())), NotImplementedError, "the values leave torch here"),
        (
            lambda m, x: F.linear(flat(x), flat(x)[:1].expand(4, -1)),
            NotImplementedError,
            "its weights descend from the images",
        ),
        (lambda m, x: F.dropout(m.fc(flat(x))), NotImplementedError, "it is random in training mode"),
        (lambda m, x: m.fc(flat(x) + flat(x).pow(2)), NotImplementedError, "a measure of activations"),
        (lambda m, x: m.fc(flat(x).pow(2)), NotImplementedError, "a measure of activations"),
        (
            lambda m, x: m.fc(flat(x).to(torch.int32).float()),
            NotImplementedError,
            "it rounds activations to torch.int32",
        ),
        (lambda m, x: F.batch_norm(m.fc(flat(x)), None, None, training=True), NotImplementedError, "mixes the images"),
    ]
    for forward, kind, message in cases:
        with pytest.raises(kind, match=message):
            lrp(Net(forward), X, 1)
    custom, plain = (
        Net(lambda m, x: m.fc(flat(x) + Twice.apply(flat(x)))),
        Net(lambda m, x: m.fc(flat(x) + 2 * flat(x))),
    )
    custom.fc = plain.fc
    assert torch.equal(lrp(custom, X, 1), lrp(plain, X, 1))
    working = Net(lambda m, x: m.fc(flat(x)))
    with pytest.raises(ValueError, match="layer 'unused' did not run in the forward pass"):
        lrp(working, X, layer="unused")
    deep = nn.Sequential(OrderedDict(outer=nn.Sequential(OrderedDict(inner=Net(lambda m, x: m.fc(flat(x)).exp())))))
    with pytest.raises(NotImplementedError, match=r"in module 'outer\.inner'"):
        lrp(deep, X, 1)
    twice = Net(lambda m, x: m.fc(m.fc(flat(x)).repeat(1, 9)))
    with pytest.raises(
        ValueError, match="layer 'fc' runs more than once in a forward pass; name a module that runs once"
    ):
        lrp(twice, X, layer="fc")
