"""Saliency, gradient x input, integrated gradients and SmoothGrad: closed forms, slow rewrites, finite differences."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.gradient_times_input import gradient_times_input
from holdfast.explanations.integrated_gradients import completeness_error, integrated_gradients
from holdfast.explanations.saliency import saliency
from holdfast.explanations.smooth_grad import smooth_grad
from holdfast.explanations.target import explained

METHODS = {
    "saliency": saliency,
    "gradient_times_input": gradient_times_input,
    "integrated_gradients": functools.partial(integrated_gradients, steps=5),
    "smooth_grad": functools.partial(smooth_grad, copies=3),
}
EVERY = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
OF = ("score", "margin", "log_probability", "log_predictive")


def convolutional(activation=nn.ReLU):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        activation(),
        nn.MaxPool2d(2) if activation is nn.ReLU else nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 5),
        activation(),
        nn.Linear(5, 3),
    ).double()


def draws(activation=nn.ReLU, count=3):
    torch.manual_seed(1)
    return Ensemble.from_networks([convolutional(activation) for _ in range(count)])


def images(count=4):
    return torch.rand(count, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def slow_gradient(ensemble, x, target, of):
    """One draw and one image at a time, by plain autograd on ordinary modules."""
    maps = []
    for b in range(len(x)):
        t = x[b : b + 1].clone().requires_grad_()
        logits = torch.stack([ensemble.module(s)(t) for s in range(len(ensemble))])
        values = explained("t", of, logits, target[b : b + 1])[:, 0]
        maps.append(torch.stack([torch.autograd.grad(v, t, retain_graph=True)[0][0] for v in values]))
    return torch.stack(maps, 1)


@pytest.mark.parametrize("of", OF)
def test_every_method_against_one_draw_and_one_image_at_a_time(of):
    ensemble, x, target = draws(), images(), torch.tensor([0, 1, 2, 1])
    slow = functools.partial(slow_gradient, ensemble, target=target, of=of)
    torch.testing.assert_close(saliency(ensemble, x, target, of=of), slow(x), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(saliency(ensemble, x, target, of=of, absolute=True), slow(x).abs())
    torch.testing.assert_close(gradient_times_input(ensemble, x, target, of=of), x * slow(x))

    baseline = torch.rand_like(x)
    places, weights = np.polynomial.legendre.leggauss(7)
    line = sum(w / 2 * slow(baseline + (p + 1) / 2 * (x - baseline)) for p, w in zip(places, weights))
    got = integrated_gradients(ensemble, x, target, of=of, baseline=baseline, steps=7)
    torch.testing.assert_close(got, (x - baseline) * line)

    generator = torch.Generator().manual_seed(5)
    noise = [0.2 * torch.randn(x.shape, generator=generator, dtype=torch.float64) for _ in range(4)]
    got = smooth_grad(ensemble, x, target, of=of, copies=4, spread=0.2, seed=5)
    torch.testing.assert_close(got, sum(slow(x + e) for e in noise) / 4)


class Quadratic(nn.Module):
    """Logits x A_c x + b_c x."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.a = nn.Parameter(torch.randn(3, 6, 6, generator=generator, dtype=torch.float64))
        self.b = nn.Parameter(torch.randn(3, 6, generator=generator, dtype=torch.float64))

    def forward(self, x):
        return torch.einsum("bi,cij,bj->bc", x, self.a, x) + x @ self.b.T


def test_closed_forms_on_a_quadratic():
    network, x = Quadratic(0), torch.randn(5, 6, dtype=torch.float64)
    a = (network.a + network.a.mT).detach()[1]
    gradient = x @ a + network.b[1]
    torch.testing.assert_close(saliency(network, x, 1)[0], gradient)
    torch.testing.assert_close(gradient_times_input(network, x, 1)[0], x * gradient)
    for quadrature in ("gauss_legendre", "middle", "trapezoid"):  # exact for a linear gradient
        maps = integrated_gradients(network, x, 1, baseline=-0.3, steps=2, quadrature=quadrature)
        torch.testing.assert_close(maps[0], (x + 0.3) * ((x - 0.3) / 2 @ a + network.b[1]))
    for quadrature, shift in (("left", -1), ("right", 1)):  # half a step early or late
        maps = integrated_gradients(network, x, 1, steps=4, quadrature=quadrature)
        torch.testing.assert_close(maps[0], x * ((0.5 + shift / 8) * x @ a + network.b[1]))


def test_smoothing_a_quadratic_leaves_the_mean_of_the_noise():
    network, x = Quadratic(0), torch.randn(5, 6, dtype=torch.float64)
    maps = smooth_grad(network, x, 1, copies=4000, spread=0.1)[0] - saliency(network, x, 1)[0]
    size = 0.1 * (network.a + network.a.mT)[1].norm(dim=0) / 4000**0.5
    assert (maps.abs() < 5 * size).all()
    assert (maps.abs() > 0.01 * size).any()


@pytest.mark.parametrize("of", OF)
def test_integrated_gradients_are_complete(of):
    ensemble, x = draws(nn.Softplus), images()
    for baseline in (0.5, torch.rand(2, 6, 6).double(), torch.rand_like(x)):
        maps = integrated_gradients(ensemble, x, of=of, baseline=baseline, steps=12)
        assert maps.shape == (1 if of == "log_predictive" else 3, *x.shape)
        assert completeness_error(ensemble, x, maps, of=of, baseline=baseline).abs().max() < 1e-8
    shifted = completeness_error(ensemble, x, maps + 1, of=of, baseline=baseline)
    torch.testing.assert_close(shifted, torch.full_like(shifted, 72), atol=1e-6, rtol=0)


def test_quadratures_converge_at_their_own_order():
    ensemble, x = draws(nn.Softplus, 1), images()

    def error(quadrature, steps):
        maps = integrated_gradients(ensemble, 4 * x, 0, steps=steps, quadrature=quadrature)
        return float(completeness_error(ensemble, 4 * x, maps, 0).abs().max())

    for quadrature, order in (("left", 1), ("right", 1), ("middle", 2)):
        assert error(quadrature, 16) / error(quadrature, 32) == pytest.approx(2**order, rel=0.2)
    assert error("trapezoid", 17) / error("trapezoid", 33) == pytest.approx(4, rel=0.2)
    assert error("gauss_legendre", 12) < 1e-3 * error("middle", 32)


@EVERY
@pytest.mark.parametrize("of", ["score", "log_predictive"])
def test_finite_differences_through_the_map(method, of):
    ensemble, x, target = draws(nn.Softplus, 2), images(2), torch.tensor([0, 2])
    weights = {k: v.clone().requires_grad_() for k, v in ensemble.weights.items()}
    ensemble = Ensemble(ensemble.network, weights)
    direction = torch.randn_like(x)
    loss = lambda x, ensemble: (method(ensemble, x, target, of=of, create_graph=True) ** 2).sum()
    t = x.clone().requires_grad_()
    gradients = torch.autograd.grad(loss(t, ensemble), [t, *weights.values()], allow_unused=True)
    step = 1e-5
    difference = (loss(x + step * direction, ensemble) - loss(x - step * direction, ensemble)) / (2 * step)
    torch.testing.assert_close((gradients[0] * direction).sum(), difference.detach(), rtol=1e-6, atol=1e-8)
    sides = []
    for sign in (1, -1):
        moved = {
            k: v.detach() + sign * step * torch.cos(torch.arange(v.numel())).view_as(v) for k, v in weights.items()
        }
        sides.append(loss(x, Ensemble(ensemble.network, moved)))
    along = sum((g * torch.cos(torch.arange(g.numel())).view_as(g)).sum() for g in gradients[1:] if g is not None)
    torch.testing.assert_close(along, ((sides[0] - sides[1]) / (2 * step)).detach(), rtol=1e-6, atol=1e-8)


def test_gradients_reach_the_parameters_of_a_plain_network():
    torch.manual_seed(0)
    network = convolutional(nn.Softplus)
    saliency(network, images(2), 0, create_graph=True).square().sum().backward()
    assert network[0].weight.grad.abs().max() > 0


@EVERY
def test_a_map_with_and_without_its_graph_is_the_same(method):
    ensemble, x = draws(), images()
    for of in OF:
        plain = method(ensemble, x, of=of)
        assert not plain.requires_grad
        torch.testing.assert_close(method(ensemble, x.clone().requires_grad_(), of=of, create_graph=True), plain)
        assert not method(ensemble, x.clone().requires_grad_(), of=of).requires_grad


@EVERY
@pytest.mark.parametrize("of", ["score", "log_predictive"])
def test_same_bytes_under_every_memory_budget_and_seed(method, of, monkeypatch):
    ensemble, x = draws(count=5), images(9)
    pair = ensemble.pair_bytes(x)
    monkeypatch.setattr("holdfast.tiles.TILE", 6 * pair)  # small tiles, so that there are many
    torch.manual_seed(3)
    state = torch.get_rng_state()
    wanted = method(ensemble, x, of=of)
    for memory in (6 * pair, 20 * pair, 1 << 30):
        assert torch.equal(method(ensemble, x, of=of, memory=memory), wanted)
    torch.testing.assert_close(method(ensemble, x, of=of, memory=1), wanted)
    assert torch.equal(torch.get_rng_state(), state)
    monkeypatch.undo()
    torch.testing.assert_close(method(ensemble, x, of=of), wanted)


def test_noise_depends_on_the_seed_alone_and_is_the_same_for_every_draw():
    network, x = draws(count=1), images()
    twice = Ensemble(network.network, {k: v.expand(2, *v.shape[1:]) for k, v in network.weights.items()})
    maps = smooth_grad(twice, x, seed=1)
    assert torch.equal(maps[0], maps[1])
    torch.testing.assert_close(maps[:1], smooth_grad(network, x, seed=1))
    assert not torch.allclose(maps[:1], smooth_grad(network, x, seed=2))


@EVERY
def test_the_model_is_left_as_it_was(method):
    network = convolutional().train()
    network[0].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = images()
    method(network, x)
    assert network.training
    assert not network[0].weight.requires_grad
    assert network[4].weight.requires_grad
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not x.requires_grad


@EVERY
@pytest.mark.parametrize("of", ["score", "log_predictive"])
def test_a_network_that_begins_in_place_leaves_the_images_alone(method, of):
    network, x = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 3)), torch.randn(4, 6)
    before = x.clone()
    maps = method(network, x, 1, of=of)
    assert torch.equal(x, before)
    torch.testing.assert_close(maps, method(nn.Sequential(nn.ReLU(), network[1]), x, 1, of=of))
    assert method(network, x.requires_grad_(), 1, of=of, create_graph=True).requires_grad


@EVERY
def test_maps_follow_the_dtype_of_the_images(method):
    network = convolutional()
    wanted = method(network, images())
    maps = method(network.float(), images().float())
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.double(), wanted, rtol=1e-3, atol=1e-5)


def test_bad_settings_are_refused():
    network, x = nn.Linear(3, 2), torch.rand(4, 3)
    for settings, words in (
        (dict(steps=0), "steps must be an integer of at least 1"),
        (dict(steps=1, quadrature="trapezoid"), "at least 2 for 'trapezoid'"),
        (dict(steps=2.5), "steps must be an integer"),
        (dict(quadrature="simpson"), "quadrature must be one of 'gauss_legendre'"),
        (dict(baseline=torch.zeros(2)), r"baseline must be a number, one image \(3,\) or one per image"),
        (dict(baseline=torch.zeros(3).double()), "finite values of torch.float32"),
        (dict(baseline=float("nan")), "baseline must hold finite"),
        (dict(of="class"), "integrated_gradients: of must be one of"),
    ):
        with pytest.raises(ValueError, match=words):
            integrated_gradients(network, x, **settings)
    with pytest.raises(TypeError, match="baseline must be a number or a tensor, got str"):
        integrated_gradients(network, x, baseline="black")
    with pytest.raises(ValueError, match="smooth_grad: copies must be an integer of at least 1, got 0"):
        smooth_grad(network, x, copies=0)
    with pytest.raises(ValueError, match="smooth_grad: spread must lie in"):
        smooth_grad(network, x, spread=-1.0)
    with pytest.raises(ValueError, match=r"saliency: labels must lie in 0\.\.1"):
        saliency(network, x, 5)
    with pytest.raises(ValueError, match=r"completeness_error: expected maps of shape \(1, 4, 3\)"):
        completeness_error(network, x, torch.zeros(4, 3))


@EVERY
def test_a_network_in_training_mode_is_refused(method):
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(images()[0].numel(), 3)).to(images().dtype)
    with pytest.raises(ValueError, match=r"module '1' \(Dropout\) is in training mode; call eval\(\)"):
        method(network, images())
