"""fc2, conv and the other architectures: layers, parameter counts, initial weights, errors."""

import pytest
import torch
from torch import nn

from holdfast import networks
from holdfast.networks.lenet import lenet
from holdfast.networks.resnet import SubsampleAndPad, resnet
from holdfast.networks.resnet2b import resnet2b
from holdfast.networks.small import small


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("factory", "width", "parameters"),
    [
        (networks.conv, 512, 456_618),
        (networks.conv, 1024, 912_810),
        (networks.fc2, 512, 669_706),
        (networks.fc2, 1024, 1_863_690),
    ],
)
def test_parameter_counts_are_those_of_the_papers_code(factory, width, parameters):
    assert count(factory((1, 28, 28), 10, width=width)) == parameters


def test_fc2_layers_stand_where_the_papers_number_them():
    kinds = [type(m) for m in networks.fc2((1, 28, 28), 10)]
    assert kinds == [nn.Flatten, nn.Linear, nn.LeakyReLU, nn.Linear, nn.LeakyReLU, nn.Linear]


def test_conv_layers_stand_where_the_papers_number_them():
    network = networks.conv((1, 28, 28), 10)
    kinds = [type(m) for m in network]
    convolution = [nn.Conv2d, nn.LeakyReLU, nn.MaxPool2d]
    assert kinds == [*convolution, *convolution, nn.Flatten, nn.Linear]
    assert (network.pool2.kernel_size, network.pool2.stride) == (2, 1)
    assert network.output.in_features == 25_088
    assert network.activation1.negative_slope == 0.01


@pytest.mark.parametrize(
    ("factory", "shape"),
    [
        (networks.fc2, (2,)),
        (networks.fc2, (3, 32, 32)),
        (networks.conv, (3, 32, 32)),
        (networks.conv, (1, 16, 17)),
        (networks.conv, (1, 29, 28)),
        (small, (3, 32, 32)),
        (small, (1, 28, 27)),
        (lenet, (1, 28, 28)),
        (lenet, (1, 9, 14)),
        (resnet, (3, 32, 32)),
        (resnet, (1, 27, 30)),
        (resnet2b, (3, 32, 32)),
        (resnet2b, (1, 27, 30)),
    ],
)
def test_any_input_shape_gives_logits(factory, shape):
    assert factory(shape, 7)(torch.rand(3, *shape)).shape == (3, 7)


def test_resnet_depths():
    # counts of the published implementation's table (0.27M, 0.85M)
    assert count(resnet((3, 32, 32), 10, depth=20)) == 269_722
    assert count(resnet((3, 32, 32), 10, depth=56)) == 853_018
    with pytest.raises(ValueError, match="depth must be 6 n \\+ 2"):
        resnet((3, 32, 32), 10, depth=21)


def test_resnet_with_filter_response_ties_no_image_to_its_batch():
    network = resnet((3, 16, 16), 10, depth=8, norm="filter_response").train().double()
    x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(network(x)[1:2], network(x[1:2]), rtol=1e-12)
    assert not list(network.buffers())
    assert count(network) == count(resnet((3, 16, 16), 10, depth=8))  # a scale and a bias for each channel, as before
    with pytest.raises(ValueError, match="norm must be one of \\('batch', 'filter_response'\\), got 'layer'"):
        resnet((3, 32, 32), 10, norm="layer")


def test_filter_response_norm_is_the_formula():
    norm = networks.FilterResponseNorm(3).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, -1.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.5, 1.0]))
    for b in range(2):
        for c in range(3):
            unit = x[b, c] / (x[b, c].square().mean() + 1e-6).sqrt()
            assert torch.allclose(norm(x)[b, c], norm.weight[c] * unit + norm.bias[c], rtol=1e-10)
    networks.initialise(norm, seed=0)
    assert torch.equal(norm.weight, torch.ones(3))
    assert not norm.bias.any()


def test_shortcut_a_keeps_every_second_pixel_between_zeros():
    x = torch.arange(2.0 * 4 * 4).view(1, 2, 4, 4)
    y = SubsampleAndPad(1)(x)
    assert y.shape == (1, 4, 2, 2)
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])
    assert not y[:, [0, 3]].any()


@pytest.mark.parametrize("factory", [networks.fc2, networks.conv, small, lenet, resnet, resnet2b])
def test_making_a_network_leaves_the_global_random_state_alone(factory):
    before = torch.random.get_rng_state()
    one, two, three = (factory((1, 28, 28), 10, seed=s).state_dict() for s in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any(not torch.equal(one[k], three[k]) for k in one)


def test_build_by_name():
    assert count(networks.build("fc2", [2], 2, width=8)) == 2 * 8 + 8 + 8 * 8 + 8 + 8 * 2 + 2
    assert isinstance(networks.build("conv", (1, 28, 28), 10, activation="relu")[1], nn.ReLU)
    with pytest.raises(ValueError, match="no network called 'fc3'; there are compact, conv, fc2, lenet"):
        networks.build("fc3", (2,), 2)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: networks.fc2((), 10), r"fc2: shape must be the shape of one image"),
        (lambda: networks.fc2((28, -1), 10), r"fc2: shape must be"),
        (lambda: networks.fc2((2,), 1), r"fc2: classes must be a whole number of at least 2, got 1"),
        (lambda: networks.fc2((2,), 2, width=0), r"fc2: width must be"),
        (lambda: networks.fc2((2,), 2, activation="swish"), r"expected .*'leaky_relu'.*, got 'swish'"),
        (lambda: networks.conv((2,), 2), r"conv: shape must be \(channels, height, width\), got \(2,\); use fc2"),
        (lambda: networks.conv((1, 15, 28), 2), r"conv: images need at least 16 pixels a side, got 15 x 28"),
    ],
)
def test_bad_settings(call, match):
    with pytest.raises(ValueError, match=match):
        call()
