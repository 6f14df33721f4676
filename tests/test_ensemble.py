"""An ensemble predicts, differentiates, saves and loads; the memory budget never changes a byte."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

import holdfast.tiles
from holdfast.ensemble import Diagnostics, Ensemble, log_predictive


def small_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(inplace=True), nn.Linear(12, 3))


@pytest.fixture
def ensemble():
    torch.manual_seed(0)
    return Ensemble.from_networks([small_network() for _ in range(7)])


def surprise(labels):
    return lambda logits, rows: -log_predictive(logits).gather(-1, labels[rows, None]).squeeze(-1)


def test_logits_are_those_of_each_network():
    networks = [small_network() for _ in range(5)]
    x = torch.rand(4, 1, 4, 4)
    expected = torch.stack([n(x) for n in networks])
    torch.testing.assert_close(Ensemble.from_networks(networks).logits(x), expected)


def test_log_predictive_is_the_log_of_the_mean_probability():
    logits = torch.randn(6, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(log_predictive(logits), logits.softmax(-1).mean(0).log())


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4, 1e30])
def test_log_predictive_is_finite_at_any_scale_and_sums_to_one(scale):
    log_p = log_predictive(torch.randn(6, 4, 3) * scale)
    assert torch.isfinite(log_p).all()
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(4))


def test_gradient_agrees_with_autograd_over_all_draws(ensemble):
    ensemble = ensemble.to(dtype=torch.float64)
    x, y = torch.rand(9, 1, 4, 4, dtype=torch.float64), torch.arange(9) % 3
    t = x.clone().requires_grad_()
    whole = torch.stack(
        [functional_call(ensemble.network, {k: v[s] for k, v in ensemble.weights.items()}, t) for s in range(7)]
    )
    expected = surprise(y)(whole, slice(None))
    (gradient,) = torch.autograd.grad(expected.sum(), t)
    value, found = ensemble.value_and_gradient(x, surprise(y))
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(found, gradient)


def test_memory_never_changes_a_byte(monkeypatch):
    monkeypatch.setattr(holdfast.tiles, "TILE", 1 << 20)
    make = lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.LeakyReLU(), nn.Linear(64, 10))
    ensemble = Ensemble.from_networks([make() for _ in range(12)])
    x, y = torch.rand(300, 1, 28, 28), torch.arange(300) % 10
    assert sum(len(block) for block in ensemble.tiles(x)) > 6
    small, large = (ensemble.value_and_gradient(x, surprise(y), memory=m) for m in (1 << 20, 1 << 34))
    assert all(torch.equal(a, b) for a, b in zip(small, large, strict=True))
    assert torch.equal(ensemble.logits(x, memory=1 << 20), ensemble.logits(x, memory=1 << 34))


def test_less_memory_than_a_tile_still_gives_the_answer(ensemble):
    x, y = torch.rand(9, 1, 4, 4), torch.arange(9) % 3
    for small, large in zip(
        ensemble.value_and_gradient(x, surprise(y), memory=1), ensemble.value_and_gradient(x, surprise(y)), strict=True
    ):
        torch.testing.assert_close(small, large)


def test_networks_are_left_as_they_are():
    network = small_network().train()
    network.register_forward_hook(lambda *_: None)
    before = copy.deepcopy(network.state_dict())
    x = torch.rand(3, 1, 4, 4)
    state = torch.get_rng_state()
    ensemble = Ensemble.from_networks(network)
    ensemble.value_and_gradient(x, surprise(torch.tensor([0, 1, 2])))
    assert network.training
    assert all(p.requires_grad and p.grad is None for p in network.parameters())
    assert len(network._forward_hooks) == 1
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not ensemble.network.training


def test_draws_can_be_selected(ensemble):
    x = torch.rand(2, 1, 4, 4)
    every = ensemble.logits(x)
    torch.testing.assert_close(ensemble[-1].logits(x), every[-1:])
    torch.testing.assert_close(ensemble[2:5].logits(x), every[2:5])
    torch.testing.assert_close(ensemble[[6, 0]].logits(x), every[[6, 0]])
    torch.testing.assert_close(ensemble.module(3)(x), every[3])


def test_tied_weights_and_buffers_stay_tied():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
            self.b = self.a

        def forward(self, x):
            return self.b(self.norm(self.a(x)))

    networks = [Tied().eval() for _ in range(2)]
    for n in networks:
        n.norm.running_mean.normal_()
    x = torch.rand(3, 4)
    torch.testing.assert_close(Ensemble.from_networks(networks).logits(x), torch.stack([n(x) for n in networks]))


def test_save_and_load_keep_every_byte(ensemble, tmp_path):
    ensemble = Ensemble(
        ensemble.network,
        ensemble.weights,
        Diagnostics("sgd", {"seed": 1}, {"loss": 0.5}, {"loss": [1.0, 0.5]}, ["short run"]),
    )
    found = Ensemble.load(ensemble.save(tmp_path / "e.safetensors"), small_network())
    assert all(torch.equal(v, found.weights[k]) for k, v in ensemble.weights.items())
    assert found.diagnostics == ensemble.diagnostics
    files = {ensemble.save(tmp_path / f"{i}.safetensors").read_bytes() for i in range(8)}
    assert len(files) == 1
    assert not list(tmp_path.glob("*.partial"))


def test_loading_into_another_architecture_names_the_difference(ensemble, tmp_path):
    path = ensemble.save(tmp_path / "e.safetensors")
    with pytest.raises(ValueError, match=r"1\.bias is \(12,\) in the file and \(5,\) in the network"):
        Ensemble.load(path, nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)))


def test_members_of_different_architectures_are_refused():
    with pytest.raises(ValueError, match="network 1 differs from network 0 in"):
        Ensemble.from_networks([nn.Linear(4, 3), nn.Linear(5, 3)])
    with pytest.raises(ValueError, match="at least one network"):
        Ensemble.from_networks([])


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (torch.full((2, 1, 4, 4), float("nan")), ValueError, "32 NaN or infinite"),
        (torch.zeros(0, 1, 4, 4), ValueError, "at least one image"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), TypeError, "floating point"),
        ([[0.0]], TypeError, r"torch\.Tensor"),
        (torch.zeros(2, 1, 5, 5), ValueError, r"does not take images of shape \(1, 5, 5\)"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.float64), TypeError, "the weights torch.float32"),
    ],
)
def test_bad_images_are_one_clear_error(ensemble, images, error, words):
    with pytest.raises(error, match=words):
        ensemble.logits(images)


@settings(max_examples=25, deadline=None)
@given(draws=st.integers(1, 6), images=st.integers(1, 9), memory=st.integers(1, 1 << 20))
def test_every_budget_gives_the_same_predictions(draws, images, memory):
    generator = torch.Generator().manual_seed(draws)
    weights = {
        "weight": torch.randn(draws, 3, 5, generator=generator),
        "bias": torch.randn(draws, 3, generator=generator),
    }
    ensemble = Ensemble(nn.Linear(5, 3), weights)
    x = torch.rand(images, 5, generator=generator)
    expected = torch.einsum("sco,bo->sbc", weights["weight"], x) + weights["bias"][:, None]
    torch.testing.assert_close(ensemble.logits(x, memory=memory), expected)


def test_a_network_that_begins_in_place_leaves_the_images_alone():
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3))
    ensemble, x = Ensemble.from_networks(network), torch.randn(5, 4)
    before = x.clone()
    ensemble.logits(x)
    _, gradient = ensemble.value_and_gradient(x, lambda logits, images: logits[0].sum(-1))
    assert torch.equal(x, before)
    assert torch.equal(gradient == 0, before <= 0)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda e, path: Ensemble.load(path, None),
            TypeError,
            "^Ensemble.load: network must be an nn.Module, got NoneType; build one with holdfast.networks or torch",
        ),
        (
            lambda e, path: Ensemble.load(path, nn.Linear),
            TypeError,
            r"^Ensemble.load: network must be an nn.Module, got the class Linear; make one of it, Linear\(...\).$",
        ),
        (
            lambda e, path: Ensemble.load(path, nn.LazyLinear(3)),
            ValueError,
            "^Ensemble.load: network has a lazy layer, whose weight has no shape yet; call it once, network",
        ),
        (
            lambda e, path: Ensemble.from_networks([1, 2]),
            TypeError,
            "^Ensemble.from_networks: network 0 must be an nn.Module, got int; build one",
        ),
        (
            lambda e, path: Ensemble.from_networks("abc"),
            TypeError,
            "^Ensemble.from_networks: networks must be an nn.Module or a list of them, got 'abc'",
        ),
        (lambda e, path: Ensemble.from_networks(nn.Linear), TypeError, "a list of them, got <class .*Linear'>"),
        (lambda e, path: Ensemble.from_networks(None), TypeError, "or a list of them, got None"),
        (
            lambda e, path: Ensemble.load(path.parent, small_network()),
            IsADirectoryError,
            "^Ensemble.load: .* is a folder; name a file in it, or read all its files with banks.Bank.open.$",
        ),
        *(
            (
                lambda e, path, wrong=wrong: Ensemble.load(wrong, small_network()),
                TypeError,
                r"^Ensemble.load: path must be a path, got .*; pass a str or a pathlib.Path.$",
            )
            for wrong in (None, 3, ["a"], b"a")
        ),
        (lambda e, path: e.save(None), TypeError, r"^Ensemble.save: path must be a path, got None; pass a str or"),
    ],
)
def test_networks_and_paths_of_another_kind_are_one_clear_error(ensemble, tmp_path, call, error, words):
    with pytest.raises(error, match=words):
        call(ensemble, ensemble.save(tmp_path / "e.safetensors"))
