"""Functions on the tape, one by one: where relevance goes, in-place changes, norms, attention, the registry."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast.explanations import Composite, Epsilon, Gamma, Pass, Stabiliser, heatmap, lrp
from holdfast.explanations.relevance import Call, Step, register, registry

TINY = Stabiliser(1e-13, relative=False)
EXACT = Composite(Epsilon(1e-13), norm=Epsilon(1e-13), sums=TINY)


class Net(nn.Module):
    """A forward function before a linear map without bias."""

    def __init__(self, forward, features, shape=(4, 6)):
        super().__init__()
        g = torch.Generator().manual_seed(2)
        self.run, self.shape = forward, shape
        self.fc = nn.Linear(features, 3, bias=False).double()
        self.fc.weight.data.copy_(torch.randn(3, features, generator=g, dtype=torch.float64))

    def forward(self, x):
        return self.fc(self.run(x).flatten(1))


def images(shape=(4, 6), count=3):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def gradient_times_input(network, x, target):
    t = x.clone().requires_grad_()
    out = network(t).gather(1, target[:, None]).sum()
    return torch.autograd.grad(out, t)[0] * x


C = torch.randn(6, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

# linear in x (or linear wherever it does not choose), so that relevance is gradient times input as epsilon goes to zero
LINEAR = {
    "chunk and cat": lambda x: torch.cat([*reversed(x.chunk(3, -1))], -1),
    "split, uneven": lambda x: torch.cat(x.split([1, 5], dim=2)[::-1], 2),
    "unbind and stack": lambda x: torch.stack(x.unbind(1)[1:], 1),
    "iterate": lambda x: sum(part for part in x.transpose(0, 1)),
    "index and slice": lambda x: x[:, ::2, [0, 3, 3]],
    "boolean index": lambda x: x[:, torch.tensor([True, False, True, True])],
    "narrow and select": lambda x: x.narrow(1, 1, 2).select(2, 3),
    "permute and T": lambda x: x.permute(1, 2, 0).transpose(0, 2).mT.contiguous().transpose(-1, 0).permute(2, 1, 0),
    "view and unflatten": lambda x: x.view(-1, 24).unflatten(1, (2, 12)).squeeze().unsqueeze(1),
    "expand": lambda x: x.unsqueeze(1).expand(-1, 2, 4, 6) * torch.arange(1, 3).view(1, 2, 1, 1),
    "repeat, flip, roll": lambda x: x.repeat(1, 2, 1).flip(1).roll(2, -1),
    "gather": lambda x: x.gather(2, torch.tensor([[[0, 5], [1, 1], [2, 3], [4, 0]]]).expand(len(x), 4, 2)),
    "pad constant": lambda x: F.pad(x, (1, 2), value=0.0),
    "pad circular": lambda x: F.pad(x, (1, 2), mode="circular"),
    "pad replicate": lambda x: F.pad(x, (2, 1), mode="replicate"),
    "mean and sum": lambda x: x.mean(1, keepdim=True) + 2 * x.sum((1,), keepdim=True),
    "averages": lambda x: F.avg_pool1d(x, 2) + F.adaptive_avg_pool1d(x, 3),
    "interpolate": lambda x: F.interpolate(x, scale_factor=2, mode="linear"),
    "unfold": lambda x: F.unfold(x[:, None], (2, 3)),
    "multiply by constants": lambda x: 3 * x * C[:4] / 0.7 * torch.tensor(-1.0),
    "subtract activations": lambda x: x[:, :2] - 0.5 * x[:, 2:],
    "subtract with alpha": lambda x: torch.sub(x[:, :2], x[:, 2:], alpha=3),
    "negate and cumulate": lambda x: (-x).cumsum(1),
    "matmul on the right": lambda x: x @ C,
    "matmul on the left": lambda x: C[:2, :4] @ x,
    "einsum": lambda x: torch.einsum("btd,de->bte", x, C),
    "addmm": lambda x: torch.addmm(torch.zeros(6).double(), x.flatten(0, 1), C, alpha=2).view(-1, 4, 6),
    "where": lambda x: torch.where(C[:4] > 0, x, 2 * x),
    "masked fill": lambda x: x.masked_fill(C[:4] > 0, 0.0),
    "maxima": lambda x: torch.cat(
        [x.amax(1), x.max(2).values, F.max_pool1d(x, 2).flatten(1), torch.max(x, x.flip(1))[:, 0]], 1
    ),
    "minima": lambda x: torch.cat(
        [x.amin(1), x.min(2, keepdim=True).values.flatten(1), -F.max_pool1d(-x, 3)[..., 0]], 1
    ),
    "adaptive maximum": lambda x: F.adaptive_max_pool1d(x, 2),
    "pixel shuffle": lambda x: F.pixel_shuffle(x.view(-1, 4, 3, 2), 2),
    "casts": lambda x: x.to(torch.float64).double().type_as(x).clone().detach() + 0 * x,
    "dropout in evaluation": lambda x: F.dropout(F.dropout1d(x, training=False), 0.3, training=False),
    "tril": lambda x: x.tril(1),
    "relus": lambda x: F.relu6(torch.relu(x.relu())),
}


@pytest.mark.parametrize("name", LINEAR)
def test_what_moves_or_sums_values_moves_relevance(name):
    function, x = LINEAR[name], images()
    features = function(x).flatten(1).shape[1] if name != "iterate" else function(x.clone()).flatten(1).shape[1]
    network, target = Net(function, features), torch.tensor([0, 1, 2])
    if name == "casts":
        network.run = lambda t: t.to(torch.float64).double().type_as(t).clone() + 0 * t
    expected = gradient_times_input(network, x, target)
    if name == "casts":
        network.run = function  # detach hides values from gradients, not from relevance
    found = heatmap(network, dict(network.named_parameters()), x, EXACT, target=target)
    assert torch.allclose(found, expected, atol=1e-9), name
    stacked = {"fc.weight": torch.stack([network.fc.weight, 2 * network.fc.weight]).detach()}
    both = torch.vmap(lambda w: heatmap(network, w, x, EXACT, target=target))(stacked)
    assert torch.allclose(both[1], 2 * expected, atol=1e-9)


def test_every_elementwise_activation_hands_relevance_on_unchanged():
    x = images((5,)) + 0.1
    functions = [
        F.relu,
        F.leaky_relu,
        F.elu,
        F.celu,
        F.selu,
        F.gelu,
        F.silu,
        F.mish,
        F.softplus,
        F.hardtanh,
        F.hardswish,
    ]
    functions += [
        torch.tanh,
        torch.sigmoid,
        F.hardsigmoid,
        F.logsigmoid,
        F.softsign,
        F.tanhshrink,
        torch.abs,
        torch.sin,
    ]
    functions += [
        lambda t: F.prelu(t, torch.tensor([0.3]).double()),
        lambda t: t.clamp(-1, 0.5),
        lambda t: torch.max(t, C[0, :5]),
    ]
    for function in functions:
        network = Net(function, 5)
        a = function(x)
        found = heatmap(network, {}, x, EXACT, target=torch.tensor([1, 1, 0]))
        expected = a * network.fc.weight[[1, 1, 0]]
        assert torch.allclose(found, expected, atol=1e-9), function


def test_in_place_functions_change_what_they_change():
    def by_hand(x):
        h = x * 2
        kept = h.clone()
        h.add_(x[:, :1])
        h.relu_()
        h *= 3
        h -= kept
        F.leaky_relu(h, inplace=True)
        return h.div_(2)

    def out_of_place(x):
        h = F.relu(2 * x + x[:, :1]) * 3 - 2 * x
        return F.leaky_relu(h) / 2

    x, target = images(), torch.tensor([2, 0, 1])
    one, other = Net(by_hand, 24), Net(out_of_place, 24)
    assert torch.allclose(
        heatmap(one, {}, x, EXACT, target=target), heatmap(other, {}, x, EXACT, target=target), atol=1e-9
    )
    before = x.clone()
    heatmap(Net(lambda t: t.mul_(2).sub_(1), 24), {}, x, EXACT)
    assert torch.equal(x, before)


def test_a_view_of_a_tensor_changed_in_place_is_refused():
    def through_a_view(x):
        h = 2 * x
        part = h[:, 0]
        part += 1
        return h

    with pytest.raises(NotImplementedError, match="shares memory with a tensor that was changed in place"):
        lrp(Net(through_a_view, 24), images())

    def assigned(x):
        h = torch.zeros(len(x), 4, 6).double()
        h[:, 1:] = x[:, 1:]
        return h

    with pytest.raises(NotImplementedError, match=r"assignment into a tensor has no relevance rule; use torch.cat"):
        lrp(Net(assigned, 24), images())


def test_constants_absorb_their_share_of_a_sum():
    network, x = Net(lambda t: 3 - (t + 2), 24), images()
    found = heatmap(network, {}, x, EXACT, target=torch.tensor([0, 0, 0]))
    assert torch.allclose(found, -x * network.fc.weight[0].view(4, 6), atol=1e-9)


def test_products_of_two_activations_share_equally():
    x, w = images(), torch.tensor([0, 0, 0])
    network = Net(lambda t: t[:, :2] * t[:, 2:].sigmoid(), 12)
    r = network.run(x) * network.fc.weight[0].view(2, 6)
    assert torch.allclose(heatmap(network, {}, x, EXACT, target=w), torch.cat([r / 2, r / 2], 1), atol=1e-9)
    gated = Net(lambda t: F.glu(t, 1), 12)
    assert torch.allclose(heatmap(gated, {}, x, EXACT, target=w), torch.cat([r / 2, r / 2], 1), atol=1e-9)
    network = Net(lambda t: t.tanh() @ t.mT, 16)
    r = network.run(x) * network.fc.weight[0].view(4, 4)
    s = (r / network.run(x)) / 2
    expected = x.tanh() * (s @ x) + (x.mT * (x.tanh().mT @ s)).mT
    assert torch.allclose(heatmap(network, {}, x, EXACT, target=w), expected, atol=1e-9)
    same = Net(lambda t: torch.einsum("btd,bsd->bts", t.tanh(), t), 16)
    same.fc = network.fc
    assert torch.allclose(heatmap(same, {}, x, EXACT, target=w), expected, atol=1e-9)


def test_softmax_by_its_taylor_expansion():
    x, network = images((5,)), Net(lambda t: t.softmax(-1), 5)
    s = x.softmax(-1)
    r = s * network.fc.weight[1]
    expected = x * (r - s * r.sum(-1, keepdim=True))
    assert torch.allclose(heatmap(network, {}, x, EXACT, target=torch.tensor([1, 1, 1])), expected, atol=1e-9)


def test_norms_by_statistics_are_linear_with_the_deviation_held():
    x, g = images((4, 6)), torch.Generator().manual_seed(7)
    w, b = (torch.randn(6, generator=g, dtype=torch.float64) for _ in range(2))
    w4, b4 = w[:4], b[:4]

    def held(function, x):
        """gradient times input with the standard deviation held constant, by explicit centring"""
        return gradient_times_input(Net(function, 24), x, torch.tensor([0, 1, 2]))

    deviation = lambda t, dims: (t.detach().var(dims, unbiased=False, keepdim=True) + 1e-5).sqrt()
    rms = lambda t: (t.detach().pow(2).mean(-1, keepdim=True) + 1e-6).sqrt()
    pairs = {
        "layer": (
            lambda t: F.layer_norm(t, (6,), w, b),
            lambda t: (t - t.mean(2, keepdim=True)) / deviation(t, (2,)) * w + b,
        ),
        "layer, two axes": (
            lambda t: F.layer_norm(t, (4, 6)),
            lambda t: (t - t.mean((1, 2), keepdim=True)) / deviation(t, (1, 2)),
        ),
        "group": (
            lambda t: F.group_norm(t, 2, w4, b4),
            lambda t: (
                torch.cat([(p - p.mean((1, 2), keepdim=True)) / deviation(p, (1, 2)) for p in t.chunk(2, 1)], 1)
                * w4[:, None]
                + b4[:, None]
            ),
        ),
        "instance": (
            lambda t: F.instance_norm(t, weight=w4, bias=b4),
            lambda t: (t - t.mean(2, keepdim=True)) / deviation(t, (2,)) * w4[:, None] + b4[:, None],
        ),
        "rms": (lambda t: F.rms_norm(t, (6,), w, eps=1e-6), lambda t: t / rms(t) * w),
        "rms by hand": (
            lambda t: w * t * torch.rsqrt(t.pow(2).mean(-1, keepdim=True) + 1e-6),
            lambda t: t / rms(t) * w,
        ),
        "standardised by hand": (
            lambda t: (t - t.mean(2, keepdim=True)) / (t.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt(),
            lambda t: (t - t.mean(2, keepdim=True)) / deviation(t, (2,)),
        ),
        "filter response norm": (
            lambda t: w4[:, None] * (t * torch.rsqrt(torch.mean(t**2, dim=2, keepdim=True) + 1e-6)) + b4[:, None],
            lambda t: t / rms(t) * w4[:, None] + b4[:, None],
        ),
    }
    for name, (function, linear) in pairs.items():
        network = Net(function, 24)
        assert torch.allclose(function(x), linear(x)), name
        found = heatmap(network, {}, x, EXACT, target=torch.tensor([0, 1, 2]))
        assert torch.allclose(found, held(linear, x), atol=1e-8), name
    same = Composite(Epsilon(1e-13), norm=Pass(), sums=TINY)
    network = Net(pairs["layer"][0], 24)
    found = heatmap(network, {}, x, same, target=torch.tensor([1, 1, 1]))
    assert torch.allclose(found, network.run(x) * network.fc.weight[1].view(4, 6), atol=1e-9)
    with pytest.raises(NotImplementedError, match="norms take the rules Epsilon and Pass"):
        heatmap(network, {}, x, Composite(Epsilon(), norm=Gamma()))


def by_definition(network, x, target, weights, mask, heads):
    """Attention relevance written out for one image and head after another (Achtibat et al. 2024)."""
    (wq, wk, wv), wo, out = weights[0].chunk(3), weights[1], torch.zeros_like(x)
    for n in range(len(x)):
        a = x[n]
        q, k, v = a @ wq.T, a @ wk.T, a @ wv.T
        d = q.shape[1] // heads
        mixed = torch.zeros_like(q)
        for h in range(heads):
            at = slice(h * d, h * d + d)
            mixed[:, at] = ((q[:, at] @ k[:, at].T) / math.sqrt(d) + mask).softmax(-1) @ v[:, at]
        z = mixed @ wo.T
        r = (z * network.fc.weight[target[n]].view_as(z)) / z
        r = mixed * (r @ wo)
        for h in range(heads):
            at = slice(h * d, h * d + d)
            raw = (q[:, at] @ k[:, at].T) / math.sqrt(d)
            p = (raw + mask).softmax(-1)
            s = r[:, at] / mixed[:, at] / 2
            rp, rv = p * (s @ v[:, at].T), v[:, at] * (p.T @ s)
            t = torch.where(torch.isinf(mask), 0, raw + mask)
            rs = t * (rp - p * rp.sum(-1, keepdim=True))
            rs = torch.where(torch.isinf(mask), 0, raw / (raw + mask) * rs)
            s = rs / raw / 2 / math.sqrt(d)
            rq, rk = q[:, at] * (s @ k[:, at]), k[:, at] * (s.T @ q[:, at])
            for part, w, value in ((rq, wq, q), (rk, wk, k), (rv, wv, v)):
                out[n] += a * ((part / value[:, at]) @ w[at])
    return out


@pytest.mark.parametrize("masked", ["none", "causal", "added"])
def test_attention_equals_its_rules_written_out(masked):
    x, target, heads = images((4, 6)), torch.tensor([0, 1, 2]), 2
    torch_mask = {"none": None, "causal": torch.full((4, 4), -torch.inf).double().triu(1), "added": C[:4, :4]}[masked]
    mha = nn.MultiheadAttention(6, heads, bias=False, batch_first=True).double().eval()
    with torch.no_grad():
        mha.in_proj_weight.copy_(torch.cat([C, C.flip(0), C.flip(1)]))
        mha.out_proj.weight.copy_(C.T)
    network = Net(lambda t: mha(t, t, t, attn_mask=torch_mask, need_weights=False)[0], 24)
    mask = torch.zeros(4, 4).double() if torch_mask is None else torch_mask
    expected = by_definition(network, x, target, (mha.in_proj_weight, mha.out_proj.weight), mask, heads)
    found = heatmap(network, {}, x, EXACT, target=target)
    assert torch.allclose(found, expected.detach(), atol=1e-8)

    def by_hand(t):
        q, k, v = F.linear(t, mha.in_proj_weight).view(len(t), 4, 3, heads, 3).permute(2, 0, 3, 1, 4)
        causal = masked == "causal"
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=None if causal else torch_mask, is_causal=causal)
        return mha.out_proj(h.transpose(1, 2).flatten(2))

    assert torch.allclose(by_hand(x), mha(x, x, x, attn_mask=torch_mask)[0])
    assert torch.allclose(heatmap(Net(by_hand, 24), {}, x, EXACT, target=target), found, atol=1e-8)


def test_attention_forms_agree_with_the_module():
    mha = nn.MultiheadAttention(6, 3, kdim=5, vdim=4).double().eval()
    q, k, v = (torch.randn(t, 2, w, dtype=torch.float64) for t, w in ((3, 6), (4, 5), (4, 4)))
    padding = torch.tensor([[False, False, True, False], [True, False, False, False]])
    expected = mha(q, k, v, key_padding_mask=padding, average_attn_weights=False)

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.mha = mha

        def forward(self, q):
            self.found = self.mha(q, k, v, key_padding_mask=padding, average_attn_weights=False)
            return self.found[0].flatten(1)

    network = Whole().eval()
    heatmap(network, {}, q, EXACT)
    assert torch.allclose(network.found[0], expected[0])
    assert torch.allclose(network.found[1], expected[1])


def test_a_rule_can_be_added_for_a_function():
    network, x = Net(torch.special.erf, 24), images()
    with pytest.raises(NotImplementedError, match="it has no relevance rule"):
        heatmap(network, {}, x)

    @register(torch.special.erf)
    def erf(call: Call) -> Step:
        out = call.run()
        return Step(out, lambda relevance, walk: (2 * relevance,))

    try:
        found = heatmap(network, {}, x, EXACT, target=torch.tensor([0, 0, 0]))
    finally:
        del registry.HANDLERS[torch.special.erf]
    assert torch.allclose(found, 2 * torch.special.erf(x) * network.fc.weight[0].view(4, 6), atol=1e-9)
