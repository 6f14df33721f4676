"""Our LRP against zennit 0.5.1 on two published residual networks and real images, in float64.

Ours explains the networks as they are written, with plain sums and batch norms. zennit needs them canonised: sums as
modules, batch norms merged into the convolutions before them. Its merge leaves the eps of the batch norm standing
below the fraction (maps of ResNet-20 are off by a per cent), so eps is moved into the running variance first, which
changes no output.
"""

import lzma

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.explanations.lrp import lrp
from holdfast.explanations.relevance import AlphaBeta, Composite, Epsilon, Gamma, Stabiliser
from holdfast.networks.published import load_published
from holdfast.networks.resnet import Block
from holdfast.networks.resnet2b import PlainBlock

FIXED = Stabiliser(1e-6, relative=False)


@pytest.fixture(params=["cifar-resnet20", "cifar-resnet2b"])
def published(request, data_dir):
    """A network and images."""
    network = load_published(request.param, data_dir).double()
    count = 4 if request.param == "cifar-resnet20" else 12
    with lzma.open(data_dir / "cifar-10" / "cifar-10-batches-bin" / "test_batch.bin.xz") as file:
        rows = np.frombuffer(file.read(3073 * count), np.uint8).reshape(count, 3073)
    return network, torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32) / 255)


def eps_moved_into_the_variance(network):
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var += module.eps
                module.eps = 0.0
    return network


def canonised(zennit):
    """zennit's canonisers for these networks: sums as modules, batch norms merged."""

    def attributes(name, module):
        if not isinstance(module, Block | PlainBlock):
            return None

        def forward(x):
            y = module.conv1(x)
            y = module.relu1(module.bn1(y) if isinstance(module, Block) else y)
            y = module.conv2(y)
            y = module.bn2(y) if isinstance(module, Block) else y
            return module.relu2(module.canonizer_sum(torch.stack([y, module.shortcut(x)], -1)))

        return {"canonizer_sum": zennit.layer.Sum(), "forward": forward}

    return [zennit.canonizers.SequentialMergeBatchNorm(), zennit.canonizers.AttributeCanonizer(attributes)]


def zennit_map(zennit, network, x, target, rule, canonizers):
    """Relevance at the normalised images: zennit has no rule for the normalisation itself."""
    layers = [(zennit.types.Linear, rule)]
    composite = zennit.composites.LayerMapComposite(layers + zennit.composites.layer_map_base(), canonizers)
    start = lambda out: out * torch.nn.functional.one_hot(target, 10)
    with zennit.attribution.Gradient(network.network, composite) as attribute:
        return attribute(network.normalise(x), start)[1].detach()


def error(maps, wanted):
    return float((maps - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", ["epsilon", "gamma", "alpha2_beta1"])
def test_agreement_on_published_networks(zennit, published, name):
    network, x = published
    ours, theirs = {
        "epsilon": (Epsilon(1e-6), zennit.rules.Epsilon(1e-6)),
        "gamma": (Gamma(0.25, stabiliser=FIXED), zennit.rules.Gamma(0.25)),
        "alpha2_beta1": (AlphaBeta(2.0, 1.0, stabiliser=FIXED), zennit.rules.AlphaBeta(2.0, 1.0)),
    }[name]
    target = network(x).argmax(-1)
    maps = lrp(network, x, target, rule=Composite(ours, sums=FIXED), layer="normalise")[0]
    prepared = eps_moved_into_the_variance(network)
    assert error(maps, zennit_map(zennit, prepared, x, target, theirs, canonised(zennit))) < 1e-9


def test_without_canonisation_zennit_is_far_off(zennit, published):
    network, x = published
    target = network(x).argmax(-1)
    maps = lrp(network, x, target, rule=Composite(Epsilon(1e-6), sums=FIXED), layer="normalise")[0]
    assert error(zennit_map(zennit, network, x, target, zennit.rules.Epsilon(1e-6), []), maps) > 0.5


def test_the_explanation_leaves_the_network_alone(published):
    network, x = published
    before = {k: v.clone() for k, v in network.state_dict().items()}
    lrp(network, x[:1], 0, rule=Composite(Epsilon(1e-6), sums=FIXED))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
