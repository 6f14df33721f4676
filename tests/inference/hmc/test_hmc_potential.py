"""The potential: written-out gradients against autograd, blocks, stacks, precision, coordinates."""

import pytest
import torch
import torch.nn.functional as F
from hmc_problems import Residual, blobs
from torch import nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast.inference.hmc.autograd_potential import AutogradPotential
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.fused_potential import FusedPotential
from holdfast.inference.hmc.layers import plain_layers
from holdfast.inference.hmc.potential import potential
from holdfast.inference.hmc.precision import choose
from holdfast.inference.priors import FanIn, random_parameters
from holdfast.networks import conv, fc2, normalised


def plain(activation=nn.LeakyReLU):
    hidden = nn.Linear(4, 7), activation(), nn.Linear(7, 6, bias=False), activation()
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(6, 3))


def coordinates_of(network, inputs=None):
    scales = random_parameters(network, FanIn())
    parameters = dict(network.named_parameters())
    return Coordinates({k: tuple(parameters[k].shape) for k in scales}, scales, inputs)


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def slow(network, coordinates, z, images, labels, temperature=1.0):
    """Loss and gradient of one chain, image by image, in float64."""
    z = z.clone().requires_grad_()
    weights = {k: v[0] for k, v in coordinates.parameters(z[None]).items()}
    total = (
        sum(F.cross_entropy(functional_call(network, weights, (x[None],)), y[None]) for x, y in zip(images, labels))
        / temperature
    )
    return total.detach(), torch.autograd.grad(total, z)[0]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid])
@pytest.mark.parametrize("chains", [1, 3])
def test_written_out_gradient_is_autograds(activation, chains):
    network, data = normalised(plain(activation), 0.4, 0.3).double(), blobs(50, dtype=torch.float64)
    coordinates = coordinates_of(network)
    found = potential(network, coordinates, data.images[None], data.labels[None], temperature=0.5, precision="float64")
    assert isinstance(found, FusedPotential)
    found.rows = 16  # the last block is a small one
    z = noise(chains, coordinates.size)
    nll, gradient = found(z)
    for k in range(chains):
        value, slope = slow(network, coordinates, z[k], data.images, data.labels, 0.5)
        assert torch.allclose(nll[k], value, rtol=1e-12)
        assert torch.allclose(gradient[k], slope, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("chains", [1, 2])
def test_any_other_network_goes_through_autograd(chains):
    network, data = conv((1, 28, 28), 3, width=4).double(), blobs(6, (1, 28, 28), dtype=torch.float64)
    coordinates = coordinates_of(network)
    found = potential(network, coordinates, data.images[None], data.labels[None], precision="float64")
    assert isinstance(found, AutogradPotential)
    found.rows = 4
    z = noise(chains, coordinates.size)
    nll, gradient = found(z)
    for k in range(chains):
        value, slope = slow(network, coordinates, z[k], data.images, data.labels)
        assert torch.allclose(nll[k], value, rtol=1e-12)
        assert torch.allclose(gradient[k], slope, rtol=1e-8, atol=1e-10)


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that an operation gives."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.is_floating_point():
            self.bytes = max(self.bytes, out.numel() * out.element_size())
        return out


@pytest.mark.parametrize("make", [plain, lambda: nn.Sequential(nn.Linear(4, 7), nn.GELU(), nn.Linear(7, 3))])
def test_blocks_stay_within_the_memory(make):
    network, data, memory = make().double(), blobs(3000, dtype=torch.float64), 40_000
    coordinates = coordinates_of(network)
    z = noise(3, coordinates.size)
    largest, found = [], []
    for settings in ({}, {"memory": memory}, {"memory": 1}):
        density = potential(network, coordinates, data.images[None], data.labels[None], precision="float64", **settings)
        density.gradient(z)
        if settings != {"memory": 1}:
            with Largest() as seen:
                found.append(density(z))
            largest.append(seen.bytes)
    assert largest[1] < memory < largest[0]
    assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in zip(*found, strict=True))


def test_both_ways_agree_on_a_plain_network():
    network, data = plain().double(), blobs(30, dtype=torch.float64)
    coordinates, z = coordinates_of(network), noise(2, coordinates_of(network).size)
    arguments = (coordinates, data.images[None], data.labels[None])
    general = AutogradPotential(network, {}, *arguments, temperature=1.0, precision="float64")
    written = potential(network, *arguments, precision="float64")
    for a, b in zip(general(z), written(z), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-11)


def test_chains_with_data_of_their_own():
    network = plain().double()
    first, second = blobs(30, dtype=torch.float64), blobs(30, seed=5, dtype=torch.float64)
    coordinates, z = coordinates_of(network), noise(2, coordinates_of(network).size)
    images, labels = torch.stack([first.images, second.images]), torch.stack([first.labels, second.labels])
    nll, gradient = potential(network, coordinates, images, labels, precision="float64")(z)
    for k, data in enumerate((first, second)):
        value, slope = slow(network, coordinates, z[k], data.images, data.labels)
        assert torch.allclose(nll[k], value)
        assert torch.allclose(gradient[k], slope, atol=1e-9)


def test_bfloat16_gradient_is_near_the_float32_one():
    data = blobs(400, (1, 12, 12), 10)
    network = normalised(fc2((1, 12, 12), 10, width=64), 0.5, 0.3)
    coordinates = coordinates_of(network)
    z = noise(1, coordinates.size, dtype=torch.float32)
    of = lambda p: potential(network, coordinates, data.images[None], data.labels[None], precision=p)
    exact, low = of("float32").gradient(z), of("bfloat16").gradient(z)
    assert low.dtype == torch.float32
    assert 1e-5 < float((low - exact).norm() / exact.norm()) < 0.03
    assert torch.equal(of("float32").nll(z), of("bfloat16").nll(z))  # energies do not know the precision
    assert torch.equal(of("bfloat16").gradient(z), low)  # deterministic


def test_bfloat16_through_autograd():
    network, data = conv((1, 28, 28), 3, width=4), blobs(40, (1, 28, 28))
    coordinates = coordinates_of(network)
    z = noise(1, coordinates.size, dtype=torch.float32)
    of = lambda p: potential(network, coordinates, data.images[None], data.labels[None], precision=p)
    exact, low = of("float32").gradient(z), of("bfloat16").gradient(z)
    assert 1e-5 < float((low - exact).norm() / exact.norm()) < 0.05


def test_matrices_on_the_inputs():
    network, data = plain().double(), blobs(20, dtype=torch.float64)
    matrix = noise(4, 4, seed=3) + 2 * torch.eye(4)
    rotation = torch.linalg.qr(noise(7, 7, seed=4)).Q
    base = coordinates_of(network)
    coordinates = coordinates_of(network, {"1.weight": matrix}).turned({"3.weight": rotation})
    z = noise(2, base.size)
    weights = coordinates.parameters(z)
    expected = base.places["1.weight"].scale * z[:, :28].view(2, 7, 4) @ matrix.T
    assert torch.allclose(weights["1.weight"], expected)
    assert torch.allclose(coordinates.flatten(weights), z)
    nll, gradient = potential(network, coordinates, data.images[None], data.labels[None], precision="float64")(z)
    value, slope = slow(network, coordinates, z[1], data.images, data.labels)
    assert torch.allclose(nll[1], value)
    assert torch.allclose(gradient[1], slope, atol=1e-9)


@pytest.mark.parametrize(
    "network",
    [
        Residual(),
        nn.Sequential(nn.Linear(4, 3), nn.ReLU()),  # an activation behind the last layer
        nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3)),
        nn.Sequential(nn.Linear(4, 3), nn.LeakyReLU(-0.1), nn.Linear(3, 3)),  # hides the sign of its input
        nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.LayerNorm(3), nn.Linear(3, 3)),
        nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 3)),
    ],
)
def test_networks_that_are_not_plain(network):
    assert plain_layers(network) is None


def test_nested_plain_network():
    network = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(4, 3), nn.Tanh()), nn.Dropout(), nn.Linear(3, 2))
    front, layers = plain_layers(network)
    assert len(front) == 1
    assert [layer.weight for layer in layers] == ["1.0.weight", "3.weight"]


def test_choice_of_precision():
    assert choose("call", "auto", torch.device("cuda"), torch.float32) == "tf32"
    assert choose("call", "float32", torch.device("cpu"), torch.float32) == "float32"
    assert choose("call", "auto", torch.device("cpu"), torch.float64) == "float64"
    with pytest.raises(ValueError, match=r"call: precision must be .auto.*got .half."):
        choose("call", "half", torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(("amx", "avx"), [(False, False), (False, True), (True, False)])
def test_bfloat16_is_chosen_where_the_processor_has_units_for_it(monkeypatch, amx, avx):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    assert choose("call", "auto", torch.device("cpu"), torch.float32) == ("bfloat16" if amx or avx else "float32")
