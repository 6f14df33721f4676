"""Standardised inputs: the first layer takes them up exactly, or not at all."""

import pytest
import torch
from problems import Residual, blobs
from torch import nn

from holdfast.inference import FanIn, Training, fit_mean_field, mean_field
from holdfast.inference.standardised import Standardised
from holdfast.networks import conv, fc2, normalised, resnet

SHORT = Training(epochs=3, batch_size=50)


class TwoPaths(nn.Module):
    """Uses the images twice."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return self.first(x) + self.second(x)


class Own(nn.Module):
    """No plain Sequential: its parameters get another name behind Normalise."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.conv(x)).amax((2, 3))


@pytest.mark.parametrize(
    ("make", "shape"),
    [(lambda: fc2((4,), 3, width=8), (4,)), (lambda: conv((1, 16, 16), 3, width=4), (1, 16, 16)), (Own, (1, 6, 6))],
    ids=["fc2", "conv", "own"],
)
def test_the_original_architecture_gives_the_same_outputs(make, shape):
    data = blobs(shape=shape, dtype=torch.float64)
    inside = Standardised(make(), data)
    assert inside.possible
    posterior = fit_mean_field(inside.network, data, seed=0, training=SHORT)
    draws = posterior.sample(4, seed=0, data=data)
    ensemble = mean_field(make(), data, seed=0, draws=4, training=SHORT)
    names = dict((*make().named_parameters(), *make().named_buffers()))
    assert list(ensemble.weights) == list(names)
    x = torch.rand((7, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert torch.allclose(ensemble.logits(x), draws.logits(x), rtol=1e-8)
    assert not torch.allclose(ensemble.weights[inside.weight], draws.weights[inside.prefix + inside.weight])
    assert set(ensemble.diagnostics.summary["deviation_over_prior"]) <= set(names)
    recorded = ensemble.diagnostics.settings["standardised"]
    assert recorded == pytest.approx(
        {"mean": float(data.images.mean()), "deviation": float(data.images.std())}, rel=0.01
    )


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (TwoPaths(), (4,)),
        (Residual(), (1, 6, 6)),  # pads with zeros
        (resnet((3, 8, 8), 3, depth=8), (3, 8, 8)),  # pads, no bias
        (nn.Linear(4, 3, bias=False), (4,)),
        (nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(72, 3)), (1, 6, 6)),
        (nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)), (4,)),
        (normalised(fc2((4,), 3, width=8), 0.3, 0.2), (4,)),
    ],
    ids=["two paths", "residual", "resnet", "no bias", "padding", "norm first", "normalised already"],
)
def test_where_the_first_layer_cannot_take_it_up_the_inputs_stay_as_they_are(network, shape):
    data = blobs(shape=shape)
    assert not Standardised(network, data).possible
    ensemble = mean_field(network, data, seed=0, draws=2, training=SHORT)
    assert ensemble.diagnostics.settings["standardised"] is None
    plain = fit_mean_field(network, data, seed=0, training=SHORT).sample(2, seed=0, data=data)
    assert all(torch.equal(v, plain.weights[k]) for k, v in ensemble.weights.items())


def test_images_of_one_grey_stay_as_they_are():
    data = blobs(20)
    grey = type(data)(torch.full_like(data.images, 0.5), data.labels)
    assert not Standardised(fc2((4,), 3, width=8), grey).possible
    assert mean_field(fc2((4,), 3, width=8), grey, seed=0, draws=2, training=SHORT).diagnostics.settings[
        "standardised"
    ] is None  # fmt: skip


def test_on_request_the_inputs_stay_as_they_are():
    data = blobs()
    ensemble = mean_field(fc2((4,), 3, width=8), data, seed=0, draws=2, training=SHORT, standardise=False)
    plain = fit_mean_field(fc2((4,), 3, width=8), data, seed=0, training=SHORT).sample(2, seed=0)
    assert all(torch.equal(v, plain.weights[k]) for k, v in ensemble.weights.items())


def test_a_vague_prior_gives_back_the_standardised_deviations():
    # without a likelihood to speak of, the first layer's draws are the prior of standardised inputs, scaled
    data = blobs(50)
    ensemble = mean_field(
        fc2((4,), 3, width=64), data, seed=0, draws=200, temperature=1e5, training=Training(300, 50, 0.03)
    )
    inside = Standardised(fc2((4,), 3, width=64), data)
    expected = FanIn().deviations(fc2((4,), 3, width=64))["linear1.weight"] / inside.deviation
    assert float(ensemble.weights["linear1.weight"].std()) == pytest.approx(expected, rel=0.03)
