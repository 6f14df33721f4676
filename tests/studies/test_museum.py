"""The museum: the released procedures against slow rewrites, and the falsifiers that show what is wrong with them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast import attacks, networks, scores
from holdfast.budget import Budget
from holdfast.data.dataset import Split
from holdfast.ensemble import Ensemble
from holdfast.explanations import Epsilon, lrp
from holdfast.studies.published import (
    clamped_images,
    double_softmax_cross_entropy,
    double_softmax_robustness,
    hot_variational,
    map_descent,
    map_sign,
    mean_of_images,
    relevance_as_released,
    sharded_chains,
)

G = torch.Generator().manual_seed(0)
X = torch.rand(6, 1, 8, 8, generator=G)
Y = torch.tensor([0, 1, 2, 0, 1, 2])


def fc(seed):
    return networks.fc2((1, 8, 8), 3, width=16, seed=seed)


def conv(seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 2),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def draws(make=fc, count=3):
    return Ensemble.from_networks([make(seed) for seed in range(count)])


def gradient_of_cross_entropy(network, x, y):
    x = x.clone().requires_grad_()
    F.cross_entropy(network(x), y, reduction="sum").backward()
    return x.grad


def test_fgsm_of_each_draw_then_the_mean():
    ensemble = draws()
    each = [
        (X + 0.2 * gradient_of_cross_entropy(ensemble.module(s), X, Y).sign()).clamp(0, 1) for s in range(len(ensemble))
    ]
    torch.testing.assert_close(mean_of_images(ensemble, X, Y).images[0], torch.stack(each).mean(0))


def test_pgd_of_each_draw_then_the_mean():
    ensemble = draws()
    start = 0.2 * (2 * torch.rand(X.shape, generator=torch.Generator().manual_seed(7)) - 1)
    each = []
    for s in range(len(ensemble)):
        moved = (X + start).clamp(0, 1)
        for _ in range(5):
            moved = moved + 0.05 * gradient_of_cross_entropy(ensemble.module(s), moved, Y).sign()
            moved = torch.minimum(torch.maximum(moved, X - 0.2), X + 0.2).clamp(0, 1)
        each.append(moved)
    found = mean_of_images(ensemble, X, Y, steps=5, step_size=0.05, seed=7).images[0]
    torch.testing.assert_close(found, torch.stack(each).mean(0))


def test_a_loud_network_passes_for_a_resilient_one_and_gains_nothing_under_our_attack():
    quiet = draws(count=1)
    x, y = X, quiet.predict(X)
    loud = quiet.to()
    for name in ("output.weight", "output.bias"):
        loud.weights[name] = loud.weights[name] * 3000

    def kept(ensemble, images):
        maps = [lrp(ensemble, t, y, rule=Epsilon(1e-6)).mean(0) for t in (x, images)]
        return scores.k_lrp(*maps, k=20).mean().item()

    quietly, loudly = (mean_of_images(e, x, y).images[0] for e in (quiet, loud))
    assert kept(loud, loudly) > kept(quiet, quietly) + 0.2
    assert (loudly == x).flatten(1).all(1).any()  # images that were not attacked at all
    ours = [attacks.fgsm(e, x, y, budget=Budget("linf", 0.2)).images[0] for e in (quiet, loud)]
    torch.testing.assert_close(ours[0], ours[1])


def test_the_second_softmax_hides_gradients_and_bounds_the_score():
    logits = torch.tensor([[[40.0, 0.0, -3.0]]], requires_grad=True)
    (gradient,) = torch.autograd.grad(double_softmax_cross_entropy(logits, torch.tensor([0])).sum(), logits)
    assert gradient.abs().max() < 1e-15
    p = torch.rand(50, 10, generator=G).softmax(-1)
    opposite = F.one_hot(torch.arange(50) % 10, 10).double().clamp(1e-30, 1)
    score = double_softmax_robustness(p.log(), opposite.log().float())
    assert (score >= 1 - (torch.e - 1) / (torch.e + 9) - 1e-6).all()


def test_the_walk_along_the_map_depends_on_the_map_alone_and_leaves_the_ball():
    ensemble = draws(count=2)
    explain = lambda draw, images: lrp(draw, images, 0)[0]
    moved = map_sign(ensemble, X, explain, steps=3)
    assert moved.max() <= 0.2
    assert (moved - X).abs().max() > 0.5
    one = [map_sign(ensemble[s], X, explain, steps=3) for s in range(2)]
    torch.testing.assert_close(moved, (one[0] + one[1]) / 2)
    bounded = map_descent(ensemble, X, explain, mean=0.2, deviation=0.3)
    assert bounded.min() >= 0.2 - 1e-6
    assert bounded.max() <= 0.3 + 1e-6


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "alpha1"])
def test_one_linear_map_by_the_released_formulas(rule):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).double()
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    found = relevance_as_released(Ensemble.from_networks(network), x, rule=rule)[0].flatten(1)
    w, b = network[1].weight.detach(), network[1].bias.detach()
    for image, relevance in zip(x.flatten(1), found):
        j = int((w @ image + b).argmax())
        row, bias = w[j], b[j]
        if rule == "gamma":
            row, bias = row + 0.1 * row * row.clamp(min=0), bias + 0.1 * bias * bias.clamp(min=0)
        parts = image * row
        if rule == "alpha1":
            wanted = parts.clamp(min=0) / parts.clamp(min=0).sum()
        else:
            z = parts.sum() + bias
            wanted = parts / (z + (0.1 if rule == "epsilon" else 1e-10) * (1 if z > 0 else -1))
        torch.testing.assert_close(relevance, wanted)


def test_leaky_units_lose_relevance_and_inner_layers_explain_their_own_strongest_unit():
    ensemble = Ensemble.from_networks(fc(0).double())
    network, x = ensemble.module(), X.double()
    found = relevance_as_released(ensemble, x, layer=1)[0]
    hidden = network[:3](x)
    for image, relevance, unit in zip(x, found, hidden.argmax(1)):
        row, z = network[1].weight[unit].detach(), network[1](network[0](image[None]))[0, unit].detach()
        share = (1.0 if z > 0 else 0.01) * image.flatten() * row / (z + 0.1 * (1 if z > 0 else -1))
        torch.testing.assert_close(relevance.flatten(), share)


def test_channels_start_with_as_much_relevance_as_they_have_leading_positions():
    ensemble = Ensemble.from_networks(conv(0).double())
    x = X.double()
    found = relevance_as_released(ensemble, x, layer=3)[0]
    network = ensemble.module()
    features = network[:5](x)
    for i in range(len(x)):
        counts = torch.bincount(features[i].argmax(0).flatten(), minlength=6)
        start = counts[:, None, None].expand_as(features[i]).double()
        whole = relevance_from(network[:5], x[i : i + 1], start[None])
        torch.testing.assert_close(found[i : i + 1], whole)


def residual():
    """A small residual network behind a normalisation, with statistics of its own, in double precision."""
    network = networks.normalised(networks.resnet((3, 8, 8), 4, depth=8, seed=2), 0.4, 0.25).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network.eval()


def test_in_a_residual_network_the_rules_reach_two_layers_and_gradients_the_rest():
    torch.manual_seed(0)
    network = residual()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    inner = network.network
    found = relevance_as_released(Ensemble.from_networks(network), x)[0]
    stabilised = lambda z: z + 0.1 * torch.where(z > 0, 1.0, -1.0)
    u = network.normalise(x).detach()
    z = inner.conv1(u).detach().requires_grad_()
    features = inner.flatten(inner.pool(inner.layer3(inner.layer2(inner.layer1(inner.relu(inner.bn1(z)))))))
    logits = inner.linear(features)
    top = logits.argmax(1)
    share = features * inner.linear.weight[top] / stabilised(logits.gather(1, top[:, None]))
    (between,) = torch.autograd.grad(features, z, share.detach())
    u.requires_grad_()
    (pulled,) = torch.autograd.grad(inner.conv1(u), u, between / stabilised(z.detach()))
    torch.testing.assert_close(found, u.detach() * pulled / 0.25)


def test_normalised_images_are_cut_as_if_they_were_pixels():
    ensemble = Ensemble.from_networks([networks.conv((3, 16, 16), 3, width=4, seed=s) for s in (0, 1)])
    x, y = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    u, each = (x - mean) / std, []
    for s in range(2):
        way = gradient_of_cross_entropy(ensemble.module(s), x, y).sign()
        each.append((u + 0.2 * way).clamp(0, 1))
    found = clamped_images(ensemble, x, y)
    torch.testing.assert_close(found.images[0], (each[0] + each[1]) / 2 * std + mean)
    assert found.size_linf.min() > 0.4  # of a radius of 0.046
    walked = clamped_images(ensemble, x, y, steps=3).images[0]
    assert walked.min() >= 0.4
    assert ((walked - mean) / std).max() <= 1 + 1e-5


def relevance_from(layers, x, relevance):
    """Epsilon relevance by dense matrices: every convolution as its Jacobian."""
    inputs = [x]
    for layer in layers:
        inputs.append(layer(inputs[-1]).detach())
    for layer, a, z in zip(reversed(layers), reversed(inputs[:-1]), reversed(inputs[1:])):
        jacobian = torch.autograd.functional.jacobian(layer, a).reshape(z.numel(), a.numel())
        r = relevance.flatten()
        if isinstance(layer, nn.Conv2d):
            r = a.flatten() * (jacobian.T @ (r / (z.flatten() + 0.1 * torch.where(z.flatten() > 0, 1.0, -1.0))))
        else:
            r = jacobian.T @ r
        relevance = r.view_as(a)
    return relevance


def test_the_released_fit_stays_near_its_prior_and_is_loud():
    data = Split(torch.rand(600, 1, 8, 8, generator=G), torch.randint(3, (600,), generator=G))
    ensemble = hot_variational(fc(0), data, seed=0, draws=20, epochs=2, batch_size=60)
    assert ensemble.diagnostics.summary["temperature"] == 10
    deviation = torch.cat([v.std(0).flatten() for v in ensemble.weights.values()]).mean()
    assert 0.5 < deviation < 1.1
    again = hot_variational(fc(0), data, seed=0, draws=20, epochs=2, batch_size=60)
    assert all(torch.equal(v, again.weights[k]) for k, v in ensemble.weights.items())


@pytest.mark.parametrize("trajectory", [1.5, "no u-turn"])
def test_sharded_chains_repeat_draws_and_are_wider_than_the_posterior_of_all_images(trajectory):
    """One weight, logistic: the chains of the parts follow the parts' posteriors, not that of all images."""
    x = torch.tensor([[1.0], [-1.0]]).repeat(120, 1)
    y = (x[:, 0] < 0).long()
    y[::7] = 1 - y[::7]
    network = nn.Linear(1, 2, bias=False)
    data = Split(x, y)
    given = dict(seed=0, warm_up=60, trajectory=trajectory, step=0.3)
    parts = sharded_chains(network, data, shard=24, draws=1000, **given)
    whole = sharded_chains(network, data, shard=240, draws=1000, **given)
    assert parts.diagnostics.summary["images_seen"] == 24
    assert parts.diagnostics.summary["distinct_draws"] < 0.75 * 1000  # 1 - 1/e of those that were accepted
    difference = lambda e: e.weights["weight"][:, 0, 0] - e.weights["weight"][:, 1, 0]
    grid = torch.linspace(-10, 10, 4001, dtype=torch.float64)  # d = w0 - w1 ~ N(0, 2) before the data

    def moments(rows):
        margin = torch.where(y[rows] == 0, 1.0, -1.0) * x[rows, 0]
        density = F.logsigmoid(margin.double()[:, None] * grid).sum(0) - grid.square() / 4
        p = (density - density.max()).exp()
        p /= p.sum()
        mean = (p * grid).sum()
        return mean, (p * (grid - mean).square()).sum().sqrt()

    mean, deviation = moments(slice(None))
    assert abs(difference(whole).mean() - mean) < 0.15 * deviation
    assert abs(difference(whole).std() / deviation - 1) < 0.15
    assert difference(parts).std() > 1.5 * deviation
    last = sharded_chains(network, data, shard=24, draws=50, keep="last", **given)
    assert last.diagnostics.summary["distinct_draws"] <= 6
    every = sharded_chains(network, data, shard=24, draws=59, **given)  # six of each of ten parts, the last one cut
    own = set(difference(every)[-5:].tolist())  # computed without the other nine, the last part has the same draws
    assert own & set(difference(last).tolist())


def test_wrong_input_is_refused():
    ensemble = draws()
    with pytest.raises(ValueError, match=r"rule must be one of 'epsilon', 'gamma', 'alpha1', got 'flat'"):
        relevance_as_released(ensemble, X, rule="flat")
    with pytest.raises(ValueError, match=r"layer must be one of \[1, 3, 5\], got 2"):
        relevance_as_released(ensemble, X, layer=2)
    with pytest.raises(ValueError, match="epsilon must lie in"):
        mean_of_images(ensemble, X, Y, epsilon=0)
    data = Split(X, Y)
    with pytest.raises(ValueError, match="trajectory must be a length or 'no u-turn', got 'no-u-turn'"):
        sharded_chains(fc(0), data, seed=0, trajectory="no-u-turn")
    with pytest.raises(ValueError, match="sharded_chains: trajectory must"):
        sharded_chains(fc(0), data, seed=0, trajectory=0)


def test_parts_that_give_no_draw_are_not_run():
    """Ten parts and five draws, one of each of the first five: what is in the others does not matter."""
    images, labels = torch.rand(60, 1, 8, 8, generator=G), torch.randint(3, (60,), generator=G)
    given = dict(seed=0, shard=6, warm_up=1)
    few = sharded_chains(fc(0), Split(images, labels), draws=5, **given)
    more = sharded_chains(fc(0), Split(images, labels), draws=9, **given)
    images[torch.randperm(60, generator=torch.Generator().manual_seed(0))[30:]] = torch.nan
    without = sharded_chains(fc(0), Split(images, labels), draws=5, **given)
    assert few.diagnostics.summary == without.diagnostics.summary
    for name, value in few.weights.items():
        assert torch.equal(value, more.weights[name][:5])
        assert torch.equal(value, without.weights[name])
