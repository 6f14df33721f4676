"""initialise: He-scaled weights for any module."""

import math

import torch
from torch import nn

from holdfast.networks import initialise


class Odd(nn.Module):
    """A module with layers of every kind, a bare matrix, a learnt scale and a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 40, 5, groups=2)
        self.up = nn.ConvTranspose2d(40, 30, 3)
        self.norm = nn.BatchNorm2d(40)
        self.layer_norm = nn.LayerNorm(8)
        self.table = nn.Embedding(50, 20)
        self.matrix = nn.Parameter(torch.zeros(300, 200))
        self.scale = nn.Parameter(torch.full((3,), 7.0))
        self.again = self.conv


def test_weights_have_he_variance_whatever_the_layer():
    network = initialise(Odd(), seed=1)
    for weight, fan_in in [
        (network.conv.weight, 3 * 25),
        (network.up.weight, 40 * 9),
        (network.matrix, 200),
        (network.table.weight, 20),
    ]:
        expected = 2 / fan_in
        assert abs(float(weight.detach().var()) / expected - 1) < 5 * math.sqrt(2 / weight.numel())
        assert abs(float(weight.detach().mean())) < 5 * math.sqrt(expected / weight.numel())
    assert not network.conv.bias.any()
    assert not network.up.bias.any()


def test_normalisation_starts_as_the_identity_and_scales_stay():
    network = Odd()
    with torch.no_grad():
        network.norm.weight.fill_(5.0)
        network.norm.running_mean.fill_(2.0)
        network.layer_norm.bias.fill_(3.0)
    initialise(network, seed=1)
    assert torch.equal(network.norm.weight.detach(), torch.ones(40))
    assert torch.equal(network.norm.running_mean, torch.zeros(40))
    assert torch.equal(network.layer_norm.bias.detach(), torch.zeros(8))
    assert torch.equal(network.scale.detach(), torch.full((3,), 7.0))


def test_the_variance_of_activations_is_kept_through_many_layers():
    layers = [m for _ in range(20) for m in (nn.Linear(400, 400), nn.ReLU())]
    network = initialise(nn.Sequential(*layers), seed=0)
    x = torch.randn(100, 400, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert 0.2 < float(network(x).square().mean() / x.square().mean()) < 5


def test_same_seed_same_bytes_in_every_type_and_nothing_global():
    before = torch.random.get_rng_state()
    one, two = initialise(Odd(), seed=5), initialise(Odd().double(), seed=5)
    torch.manual_seed(123)
    three = initialise(Odd(), seed=5)
    for name, value in one.state_dict().items():
        assert torch.equal(value, three.state_dict()[name])
        assert torch.equal(value, two.state_dict()[name].to(value.dtype))
    torch.random.set_rng_state(before)
    initialise(one, seed=9)
    assert torch.equal(torch.random.get_rng_state(), before)
