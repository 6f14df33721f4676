"""swag: the moments and the law of the draws in closed form, members, batch statistics."""

from dataclasses import replace

import pytest
import torch
from problems import Residual, accuracy, blobs
from torch.func import functional_call

from holdfast.ensemble import skeleton
from holdfast.inference import Training, deep_ensemble, swag
from holdfast.inference.statistics import refresh_statistics
from holdfast.inference.swag import Moments
from holdfast.networks import fc2

SHORT = {"training": Training(epochs=3), "collection": Training(epochs=4, learning_rate=0.02, optimiser="sgd")}


def collected(rank):
    generator = torch.Generator().manual_seed(0)
    seen = [torch.randn(2, 3, 2, generator=generator, dtype=torch.float64) * (i + 1) for i in range(7)]
    moments = Moments(rank)
    for w in seen:
        moments.add({"w": w})
    return moments, torch.stack(seen)


def test_moments_are_mean_and_variance():
    moments, seen = collected(rank=4)
    assert torch.allclose(moments.mean["w"], seen.mean(0))
    assert torch.allclose(moments.squares["w"] / 7, seen.var(0, correction=0))
    assert [torch.equal(w["w"], s) for w, s in zip(moments.last, seen[-4:], strict=True)] == [True] * 4


def test_draws_have_the_covariance_of_the_paper():
    moments, seen = collected(rank=4)
    member = torch.arange(60_000) // 30_000
    draws = moments.sample(member, seed=0)["w"].flatten(1)
    for m in (0, 1):
        flat = seen[:, m].flatten(1)
        mean = flat.mean(0)
        deviations = flat[-4:] - mean
        covariance = torch.diag(flat.var(0, correction=0)) / 2 + deviations.T @ deviations / (2 * 3)
        found = draws[member == m]
        scale = covariance.diagonal().sqrt()
        assert ((found.mean(0) - mean).abs() < 5 * scale / 30_000**0.5).all()
        assert ((torch.cov(found.T) - covariance).abs() < 0.04 * scale * scale[:, None]).all()


def test_members_share_the_draws_evenly_and_start_apart():
    ensemble = swag(fc2((4,), 3, width=16), blobs(), seed=0, draws=6, members=3, rank=3, **SHORT)
    weights = ensemble.weights["linear1.weight"].flatten(1)
    distance = torch.cdist(weights, weights)
    within = torch.stack([distance[0, 1], distance[2, 3], distance[4, 5]])
    assert within.max() < 0.5 * torch.stack([distance[0, 2], distance[0, 4], distance[2, 4]]).min()
    assert within.min() > 0


def test_collects_from_trained_networks():
    data, network = blobs(shape=(1, 6, 6)), Residual()
    trained = deep_ensemble(network, data, seed=3, members=2, training=SHORT["training"])
    still = Training(epochs=2, learning_rate=1e-30, optimiser="sgd", schedule="constant")
    ensemble = swag(network, data, seed=0, draws=4, members=2, rank=2, collection=still, initial=trained)
    for name, value in ensemble.weights.items():
        if not name.startswith("norm.running"):  # the statistics are those of the draws
            assert torch.allclose(value.double(), trained.weights[name].repeat_interleave(2, 0).double()) or (
                name == "norm.num_batches_tracked"
            )
    assert ensemble.diagnostics.summary["loss_before_collection"] is None
    assert len(ensemble.diagnostics.settings["initial"]) == 16
    before = trained.weights["conv.weight"].clone()
    swag(network, data, seed=0, draws=2, members=2, rank=2, collection=SHORT["collection"], initial=trained)
    assert torch.equal(trained.weights["conv.weight"], before)  # they are left as they are


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda t: t.network, TypeError, "initial must be an Ensemble or None, got Sequential"),
        (
            lambda t: t[[0, 0]],
            ValueError,
            r"swag: initial does not fit: linear1.bias must be \(1, 16\) and is \(2, 16\)",
        ),
        (lambda t: replace(t, weights={"a": torch.zeros(1)}), ValueError, "a must be absent and is"),
    ],
)
def test_unfit_networks_to_collect_from(make, error, match):
    trained = deep_ensemble(fc2((4,), 3, width=16), blobs(), seed=0, members=1, training=SHORT["training"])
    with pytest.raises(error, match=match):
        swag(fc2((4,), 3, width=16), blobs(), seed=0, draws=2, initial=make(trained))


def test_learns():
    ensemble = swag(fc2((4,), 3, width=32), blobs(), seed=0, draws=20, rank=5, training=Training(30, 30, 1e-2))
    assert accuracy(ensemble, blobs(seed=1)) > 0.85
    assert len(ensemble.diagnostics.history["loss"]) == 50


def test_batch_statistics_belong_to_the_draw():
    data = blobs(300, shape=(1, 6, 6))
    ensemble = swag(Residual(), data, seed=0, draws=3, rank=3, **SHORT)
    network = skeleton(Residual())
    for s in range(3):
        weights = {k: v[s] for k, v in ensemble.weights.items()}
        x = torch.relu(
            functional_call(network.conv, {k[5:]: v for k, v in weights.items() if k[:5] == "conv."}, data.images)
        )
        maps = functional_call(network.twice, {"weight": weights["twice.weight"]}, x)
        assert torch.allclose(weights["norm.running_mean"], maps.mean((0, 2, 3)), atol=1e-5)
        assert torch.allclose(weights["norm.running_var"], maps.var((0, 2, 3)), rtol=1e-3)


def test_statistics_average_over_equal_passes():
    data = blobs(300, shape=(1, 6, 6))
    parameters = {k: v.detach()[None] for k, v in Residual().named_parameters()}
    states = []
    for batch in (75, 300):
        buffers = {k: v.clone()[None] for k, v in Residual().named_buffers()}
        refresh_statistics(skeleton(Residual()), parameters, buffers, data, batch=batch)
        states.append(buffers)
    assert torch.allclose(states[0]["norm.running_mean"], states[1]["norm.running_mean"], atol=1e-5)
    assert states[0]["norm.num_batches_tracked"].tolist() == [4]


def test_statistics_of_few_images_are_spread_over_the_data():
    data = blobs(300, shape=(1, 6, 6))
    parameters = {k: v.detach()[None] for k, v in Residual().named_parameters()}
    buffers, expected = ({k: v.clone()[None] for k, v in Residual().named_buffers()} for _ in range(2))
    refresh_statistics(skeleton(Residual()), parameters, buffers, data, images=3)
    refresh_statistics(skeleton(Residual()), parameters, expected, data[[0, 150, 299]])
    assert torch.equal(buffers["norm.running_mean"], expected["norm.running_mean"])


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"rank": 1}, "at least 2, got rank 1"),
        ({"collection": Training(epochs=1)}, "and 1 collected weights"),
        ({"draws": 2, "members": 3}, "3 members need at least as many draws, got 2"),
    ],
)
def test_bad_settings(settings, match):
    with pytest.raises(ValueError, match=match):
        swag(fc2((4,), 3), blobs(), seed=0, **settings)
