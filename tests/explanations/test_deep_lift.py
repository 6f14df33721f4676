"""DeepLIFT: a slow rewrite, completeness, awkward networks, finite differences, refusals."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.deep_lift import deep_lift
from holdfast.explanations.gradient_times_input import gradient_times_input
from holdfast.explanations.integrated_gradients import completeness_error

OF = ("score", "margin", "log_probability", "log_predictive")


class Plain(nn.Module):
    """Convolution, activation, pool, batch norm, two linear layers."""

    def __init__(self, activation=torch.relu, pool=lambda t: F.max_pool2d(t, 2)):
        super().__init__()
        self.activation, self.pool = activation, pool
        self.convolution, self.norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
        self.first, self.second = nn.Linear(12, 5), nn.Linear(5, 3)
        with torch.no_grad():
            self.norm.running_mean.normal_(), self.norm.running_var.uniform_(0.5, 2), self.norm.weight.normal_()

    def forward(self, x):
        x = self.pool(self.activation(self.convolution(x)))
        return self.second(self.activation(self.first(self.norm(x).flatten(1))))


class Awkward(nn.Module):
    """One module used three times, activations in place, functional sums in place, slices and concatenations."""

    def __init__(self, overwrite=True):
        super().__init__()
        self.overwrite = overwrite
        self.inner, self.relu, self.last = nn.Linear(8, 8), nn.ReLU(inplace=True), nn.Linear(12, 3)

    def forward(self, x):
        y = self.relu(self.inner(x))
        if self.overwrite:
            y += x  # changes the output of the activation, which autograd would not allow
        else:
            y = y + x
        y = self.inner(y)
        z = F.leaky_relu(y, 0.1, True) + 0.5 * x
        z.tanh_()
        z = self.relu(self.inner(z)) - y / 3
        return self.last(torch.cat([z, 1 - torch.sigmoid(z[:, :4])], 1))


def ensemble_of(make, count=3):
    torch.manual_seed(0)
    return Ensemble.from_networks([make().double() for _ in range(count)])


def pairs(*shape):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(*shape, dtype=torch.float64, generator=generator) for _ in range(2)]


def matrix(function, shape):
    """The matrix of a linear function, column by column."""
    flat = int(torch.tensor(shape).prod())
    units = torch.eye(flat, dtype=torch.float64).view(flat, *shape)
    return function(units).flatten(1).T


def slow_plain(network, x, start, target):
    """One image, in matrices: rescale rule for activations, difference of winners for the pool."""
    slope = lambda z, base: (network.activation(z) - network.activation(base)) / (z - base)
    no_bias = lambda module: lambda t: module(t) - module(torch.zeros_like(t))
    z, z0 = (network.convolution(t[None]).flatten() for t in (x, start))
    into_pool = torch.diag(slope(z, z0)) @ matrix(no_bias(network.convolution), x.shape)
    y, y0 = (network.activation(t).view(3, 4, 4) for t in (z, z0))
    pool = torch.zeros(12, 48, dtype=torch.float64)
    for channel in range(3):
        for row in range(2):
            for column in range(2):
                window = [(channel, 2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]
                best, best0 = max(window, key=lambda p: y[p]), max(window, key=lambda p: y0[p])
                winner = best if y[best] >= y0[best0] else best0
                place = channel * 16 + winner[1] * 4 + winner[2]
                difference = y[winner] - y0[winner]
                share = (y[best] - y0[best0]) / difference if difference else 1.0
                pool[channel * 4 + row * 2 + column, place] = share
    norm = torch.diag((network.norm.weight / (network.norm.running_var + network.norm.eps).sqrt()).repeat_interleave(4))
    shift = lambda t: network.norm(F.max_pool2d(t[None], 2)).flatten()
    h, h0 = network.first(shift(y)), network.first(shift(y0))
    top = network.second.weight[target] @ torch.diag(slope(h, h0)) @ network.first.weight
    return (x - start) * (top @ norm @ pool @ into_pool).view_as(x)


@pytest.mark.parametrize("activation", [torch.relu, torch.sigmoid, F.leaky_relu, F.gelu])
def test_against_a_slow_rewrite_in_matrices(activation):
    ensemble = ensemble_of(lambda: Plain(activation))
    (x, start), target = pairs(4, 2, 6, 6), torch.tensor([0, 2, 1, 1])
    maps = deep_lift(ensemble, x, target, baseline=start)
    for s in range(3):
        network = ensemble.module(s).requires_grad_(False)
        for b in range(4):
            torch.testing.assert_close(
                maps[s, b], slow_plain(network, x[b], start[b], target[b]), rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("of", [*OF, lambda logits, target: logits.square().sum(-1)])
@pytest.mark.parametrize("make", [Plain, Awkward])
def test_maps_add_up_to_the_difference(make, of):
    ensemble, (x, start) = ensemble_of(make), pairs(4, *((2, 6, 6) if make is Plain else (8,)))
    target = None
    if of == "margin":  # the rival at x counts at the baseline too, so take images whose rival stays
        target = ensemble.predict(x)
        start = x + 0.2 * start
        rival = lambda t: ensemble.logits(t).scatter(-1, target.expand(3, -1)[..., None], -torch.inf).argmax(-1)
        keep = (rival(x) == rival(start)).all(0)
        assert keep.any()
        x, start, target = x[keep], start[keep], target[keep]
    maps = deep_lift(ensemble, x, target, of=of, baseline=start)
    assert maps.shape == (1 if of == "log_predictive" else 3, *x.shape)
    assert completeness_error(ensemble, x, maps, target, of=of, baseline=start).abs().max() < 1e-10


@pytest.mark.parametrize(
    "pool",
    [
        lambda t: F.max_pool2d(t, 3, stride=1),
        lambda t: F.max_pool2d(t, 2, 2, 1)[..., :2, :2],
        lambda t: F.adaptive_max_pool2d(t, 2),
        lambda t: F.max_pool1d(t.flatten(2), 4).view(-1, 3, 2, 2),
        lambda t: F.max_pool3d(t[:, None], (1, 2, 2))[:, 0],
        lambda t: F.avg_pool2d(t, 2),
        lambda t: nn.MaxPool2d(2)(t),
    ],
)
def test_pools_of_every_kind_add_up(pool):
    ensemble, (x, start) = ensemble_of(lambda: Plain(pool=pool)), pairs(4, 2, 6, 6)
    for baseline in (start, 0.0, torch.zeros(2, 6, 6).double()):
        maps = deep_lift(ensemble, x, 1, baseline=baseline)
        assert completeness_error(ensemble, x, maps, 1, baseline=baseline).abs().max() < 1e-12


def test_a_baseline_next_to_the_image_gives_the_gradient():
    ensemble, (x, way) = ensemble_of(lambda: Plain(torch.tanh)), pairs(4, 2, 6, 6)
    near = deep_lift(ensemble, x, 1, baseline=x - 1e-9 * way) / (1e-9 * way)
    torch.testing.assert_close(near, gradient_times_input(ensemble, x, 1) / x, rtol=1e-5, atol=1e-7)
    assert torch.equal(deep_lift(ensemble, x, 1, baseline=x), torch.zeros(3, *x.shape).double())


def test_without_biases_a_relu_network_gives_gradient_times_input():
    network = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
    x = pairs(5, 6)[0]
    torch.testing.assert_close(deep_lift(network, x, 1), gradient_times_input(network, x, 1))


@pytest.mark.parametrize("of", ["score", "log_predictive"])
@pytest.mark.parametrize("make", [lambda: Plain(F.softplus), lambda: Awkward(overwrite=False)])
def test_finite_differences_through_the_map(make, of):
    ensemble = ensemble_of(make, 2)
    shape = (8,) if isinstance(ensemble.network, Awkward) else (2, 6, 6)
    x, start = pairs(2, *shape)
    weights = {
        k: v.clone().requires_grad_(v.is_floating_point() and "running" not in k) for k, v in ensemble.weights.items()
    }
    inputs = {"x": x.requires_grad_(), "start": start.requires_grad_(), **weights}
    inputs = {k: v for k, v in inputs.items() if v.requires_grad}

    def loss(given):
        member = Ensemble(ensemble.network, {k: given.get(k, v) for k, v in weights.items()})
        maps = deep_lift(member, given["x"], 1, of=of, baseline=given["start"], create_graph=True)
        return (maps**2).sum()

    gradients = torch.autograd.grad(loss(inputs), list(inputs.values()), allow_unused=True)
    for (name, value), gradient in zip(inputs.items(), gradients, strict=True):
        way = torch.cos(torch.arange(value.numel(), dtype=torch.float64)).view_as(value)
        sides = [loss({**inputs, name: value.detach() + step * way}).detach() for step in (1e-6, -1e-6)]
        found = torch.zeros(()).double() if gradient is None else (gradient * way).sum()
        torch.testing.assert_close(found, (sides[0] - sides[1]) / 2e-6, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("of", ["score", "log_predictive"])
def test_same_bytes_under_every_memory_budget(of, monkeypatch):
    ensemble, (x, start) = ensemble_of(Plain, 5), pairs(9, 2, 6, 6)
    pair = ensemble.pair_bytes(x)
    monkeypatch.setattr("holdfast.tiles.TILE", 20 * pair)
    wanted = deep_lift(ensemble, x, of=of, baseline=start)
    assert torch.equal(deep_lift(ensemble, x, of=of, baseline=start, memory=20 * pair), wanted)
    torch.testing.assert_close(deep_lift(ensemble, x, of=of, baseline=start, memory=1), wanted)
    for s in range(5) if of == "score" else ():
        torch.testing.assert_close(deep_lift(ensemble[s], x, ensemble.predict(x), baseline=start)[0], wanted[s])


def test_images_and_network_are_left_as_they_were():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 3)

        def forward(self, x):
            return self.linear(x.relu_())

    network, (x, start) = InPlace().double().train(), pairs(4, 8)
    before, state = x.clone(), {k: v.clone() for k, v in network.state_dict().items()}
    maps = deep_lift(network, x, 1, baseline=start)
    assert torch.equal(x, before)
    assert network.training
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    wanted = (before.relu() - start.relu()) * network.linear.weight[1].detach()
    torch.testing.assert_close(maps[0], wanted)


class Ends(nn.Module):
    """A linear layer behind any function."""

    def __init__(self, function):
        super().__init__()
        self.function, self.linear = function, nn.Linear(8, 3)

    def forward(self, x):
        return self.linear(self.function(x))


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda t: t.softmax(-1), "softmax"),
        (lambda t: F.layer_norm(t, (8,)), "layer_norm"),
        (lambda t: t * t, "mul"),
        (lambda t: t * torch.sigmoid(t), "mul"),
        (lambda t: t @ t.T @ t, "matmul"),
        (lambda t: t / t.sum(), "div"),
        (lambda t: t * (t > 0), "gt"),
        (lambda t: (8 * t).to(torch.int64) / 8, "to"),
        (lambda t: t * t.sum().item(), "item"),
        (lambda t: t * float(t.sum()), "float"),
        (lambda t: t.detach(), "detach"),
        (lambda t: t.data, "get"),
        (lambda t: F.batch_norm(t[:, None], None, None, training=True)[:, 0], "batch_norm"),
        (lambda t: F.dropout(t, 0.5), "dropout"),
        (lambda t: t.sort().values, "sort"),
        (lambda t: torch.maximum(t, t + 1), "maximum"),
        (lambda t: t.pow(t), "pow"),
    ],
)
def test_functions_without_a_rule_are_named(function, name):
    with pytest.raises(NotImplementedError, match=f"deep_lift: no rescale rule for torch function '{name}'"):
        deep_lift(Ends(function), torch.rand(2, 8), 1)


def test_linear_functions_of_many_names_are_let_through():
    def function(t):
        t = torch.stack([t, -t, 2 * t, t / 2], 1).permute(0, 2, 1).reshape(-1, 32).unflatten(1, (4, 8))
        t = F.dropout(t, 0.5, training=False).mT.transpose(1, 2).clone().contiguous()
        t = torch.where(torch.arange(8) > 3, t, t.flip(-1)).sum(1) @ torch.eye(8)
        rows = torch.zeros_like(t)
        rows[:, :8] = t
        first, second = rows.chunk(2, 1)
        return torch.einsum("bi,ij->bj", F.pad(torch.cat([second, first], 1), (1, 1))[:, 1:9].T.T, torch.eye(8))

    network, x = Ends(function), torch.rand(2, 8)
    torch.testing.assert_close(deep_lift(network, x, 1), gradient_times_input(network, x, 1))


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="deep_lift: of must be one of"):
        deep_lift(nn.Linear(3, 2), torch.rand(1, 3), of="nothing")
    with pytest.raises(ValueError, match="deep_lift: baseline must be a number, one image"):
        deep_lift(nn.Linear(3, 2), torch.rand(1, 3), baseline=torch.zeros(2))
