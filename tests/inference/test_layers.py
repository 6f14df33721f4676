"""Layers in running order, with their groups."""

import torch
import torch.nn.functional as F
from torch import nn

from holdfast.inference.layers import layers_in_order


class Backwards(nn.Module):
    """Defines its layers in the opposite order of running them."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(8, 2, bias=False)
        self.up = nn.ConvTranspose2d(4, 8, 2, groups=2)
        self.conv = nn.Conv2d(2, 4, 3, groups=2)

    def forward(self, x):
        return self.last(F.relu(self.up(self.conv(x))).mean((2, 3)))


def test_running_order_and_groups():
    network = Backwards()
    found = layers_in_order(network, dict(network.named_parameters()), torch.rand(1, 2, 6, 6))
    assert [(layer.weight, layer.bias, layer.groups) for layer in found] == [
        ("conv.weight", "conv.bias", 2),
        ("up.weight", "up.bias", 2),
        ("last.weight", None, 1),
    ]
    assert found[2].function is F.linear
