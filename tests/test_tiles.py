"""Tiles cover all draws and images exactly once, whatever the budget."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.tiles import TILE, activation_bytes, tile_shape, tiles


@given(
    pair=st.integers(1, 1 << 32), draws=st.integers(1, 40), images=st.integers(1, 300), memory=st.integers(1, 1 << 34)
)
def test_every_pair_is_in_exactly_one_tile(pair, draws, images, memory):
    count = torch.zeros(draws, images, dtype=torch.int64)
    for block in tiles(pair, draws, images, memory):
        assert len({(t.images.start, t.images.stop) for t in block}) == 1
        for tile in block:
            count[tile.draws, tile.images] += 1
    assert (count == 1).all()


@given(pair=st.integers(1, 1 << 32), draws=st.integers(1, 40), images=st.integers(1, 300))
def test_a_tile_does_not_depend_on_a_budget_of_a_tile_or_more(pair, draws, images):
    assert tile_shape(pair, draws, images, TILE) == tile_shape(pair, draws, images, 1 << 40)
    s, b = tile_shape(pair, draws, images)
    assert s * b * pair <= TILE or s * b == 1


def test_activations_are_counted():
    network = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5))
    assert activation_bytes(network, torch.rand(1, 10)) == 4 * (10 + 20 + 20 + 5)
