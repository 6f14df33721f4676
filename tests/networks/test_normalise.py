"""Normalise: the same numbers as normalising the images, and errors."""

import pytest
import torch
from torch import nn

from holdfast.networks import Normalise, fc2, normalised


def test_one_number_per_channel():
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    out = Normalise(mean, std)(x)
    for c in range(3):
        assert torch.allclose(out[:, c], (x[:, c] - mean[c]) / std[c])


def test_a_network_before_and_after():
    network = fc2((1, 4, 4), 3, width=5)
    x = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    inside = normalised(network, 0.3, 0.2)
    assert torch.allclose(inside(x), network((x - 0.3) / 0.2), atol=1e-6)
    assert set(inside.state_dict()) == {*network.state_dict(), "normalise.mean", "normalise.std"}
    assert [name for name, _ in inside.named_parameters()] == [name for name, _ in network.named_parameters()]


def test_other_modules_and_networks_that_normalise_already_are_wrapped():
    class Own(nn.Module):
        def forward(self, x):
            return 2 * x

    x = torch.rand(2, 3)
    assert torch.equal(normalised(Own(), 0.0, 1.0)(x), 2 * x)
    twice = normalised(normalised(nn.Sequential(nn.Identity()), 1.0, 1.0), 0.0, 2.0)
    assert torch.allclose(twice(x), x / 2 - 1)


@pytest.mark.parametrize(
    ("mean", "std", "match"),
    [
        (0.5, 0.0, "std positive"),
        (float("nan"), 1.0, "mean must be finite"),
        ((0.1, 0.2), (1.0, 1.0, 1.0), r"one number per channel, got shapes \(2,\) and \(3,\)"),
    ],
)
def test_bad_numbers(mean, std, match):
    with pytest.raises(ValueError, match=match):
        Normalise(mean, std)
