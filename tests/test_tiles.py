"""Tiles cover all draws and images exactly once, whatever the budget."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast import explanations
from holdfast.ensemble import Ensemble
from holdfast.tiles import TILE, OutOfMemory, Tile, Walk, activation_bytes, tile_shape, tiles


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


class Small(nn.Module):
    """A network on a device that has room for so many images at once."""

    def __init__(self, room):
        super().__init__()
        self.room, self.layers = room, nn.Sequential(nn.Linear(6, 9), nn.Softplus(), nn.Linear(9, 4))

    def forward(self, x):
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return self.layers(x)


CALLS = {
    "logits": lambda e, x: e.logits(x),
    "value and gradient": lambda e, x: e.value_and_gradient(x, lambda z, rows: (z[..., 0] * z[..., 1]).sum(0))[1],
    "saliency": lambda e, x: explanations.saliency(e, x, 1),
    "integrated gradients": lambda e, x: explanations.integrated_gradients(e, x, 1, steps=5),
    "log predictive": lambda e, x: explanations.saliency(e, x, 1, of="log_predictive"),
    "deep_lift": lambda e, x: explanations.deep_lift(e, x, 1),
    "lrp": lambda e, x: explanations.lrp(e, x, 1),
    "lrp, median": lambda e, x: explanations.lrp(e, x, 1, reduce="median"),
    "strongest units": lambda e, x: explanations.strongest_units(e, x, "layers.0"),
    "gradient of mean maps": lambda e, x: explanations.mean_map_gradient(e, x, lambda maps, _: maps[:, 0], 1)[1],
}


@pytest.mark.parametrize("name", CALLS)
def test_out_of_memory_halves_the_tile_goes_on_and_says_so(name):
    torch.manual_seed(0)
    roomy = Ensemble.from_networks([Small(10_000).double() for _ in range(3)])
    cramped = Ensemble(Ensemble.from_networks(Small(10).double()).network, roomy.weights)
    x = torch.rand(37, 6, dtype=torch.float64)  # in float32 the derivatives of maps differ by the rounding of the tiles
    wanted = CALLS[name](roomy, x)
    with pytest.warns(OutOfMemory, match=r"out of memory with \d draws x \d+ images .* half as many"):
        found = CALLS[name](cramped, x)
    torch.testing.assert_close(found, wanted)


def test_images_are_halved_first_then_draws_and_the_halves_stay():
    tried = []

    def work(block):
        size = max(len(range(7)[t.draws]) * len(range(10)[t.images]) for t in block)
        tried.append(size)
        if size > 3:
            raise torch.OutOfMemoryError("full")
        return [(d, i) for t in block for d in range(7)[t.draws] for i in range(10)[t.images]]

    blocks = [[Tile(slice(0, 5), slice(0, 4)), Tile(slice(5, 7), slice(0, 4))], [Tile(slice(0, 7), slice(4, 6))]]
    with pytest.warns(OutOfMemory):
        pairs = [pair for _, found in Walk().blocks(blocks, work) for pair in found]
    assert sorted(pairs) == [(d, i) for d in range(7) for i in range(6)]
    assert [s for s in tried if s > 3] == [20, 10, 5, 4]  # what did not fit is not tried again


def test_what_cannot_be_halved_and_other_errors_are_raised():
    def full(block):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore lines")

    one = [[Tile(slice(0, 1), slice(0, 1))]]
    with pytest.raises(MemoryError, match=r"one draw on one image at a time \(CUDA out of .*GiB.\); hand"):
        list(Walk().blocks(one, full))
    with pytest.raises(RuntimeError, match="size of tensor a"):
        list(Walk().blocks([[Tile(slice(0, 4), slice(0, 4))]], lambda block: torch.zeros(2) + torch.zeros(3)))


def test_a_limited_address_space_is_survived():
    """The allocator itself refuses here: two tensors of 32 MiB each, where less than 40 MiB are left.

    What a process may still have depends on the machine (arenas, stacks, cores), so room is taken until 32 MiB are
    refused.
    """
    script = """
import resource, warnings
from pathlib import Path
import torch
from torch import nn
from holdfast.ensemble import Ensemble
from holdfast.tiles import OutOfMemory

torch.set_num_threads(1)
wide = nn.Sequential(nn.Linear(64, 4096), nn.ReLU(), nn.Linear(4096, 10))
ensemble, x = Ensemble.from_networks(wide), torch.rand(6000, 64)
with torch.no_grad():
    wanted = torch.cat([wide(part) for part in x.split(100)])
ensemble.logits(x[:1])
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (40 << 20),) * 2)
reserve, held = torch.empty(8 << 20, dtype=torch.uint8), []
while len(held) < 1000:
    try:
        held.append(torch.empty(32 << 20, dtype=torch.uint8))
    except RuntimeError:
        break
if len(held) == 1000:
    raise SystemExit("this machine does not limit address space")
del reserve
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    found = ensemble.logits(x)[0]
assert torch.allclose(found, wanted, atol=1e-5)
assert [w for w in said if w.category is OutOfMemory], said
print(*(w.message for w in said), sep="\\n")
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    if "does not limit address space" in done.stderr:
        pytest.skip("this machine does not limit address space")
    assert done.returncode == 0, done.stderr
    assert "going on with half as many" in done.stdout
