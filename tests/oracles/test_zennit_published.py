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
import torch.nn.functional as F
from torch import nn

from holdfast.explanations.lrp import lrp
from holdfast.explanations.relevance import AlphaBeta, Composite, Epsilon, Gamma, Stabiliser

FIXED = Stabiliser(1e-6, relative=False)


class Block(nn.Module):
    """Two convolutions and a shortcut, with batch norms or without."""

    def __init__(self, inputs, outputs, stride, normed):
        super().__init__()
        norm = nn.BatchNorm2d if normed else nn.Identity
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not normed), norm(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=not normed), norm(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = Subsample(outputs) if normed else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class Subsample(nn.Module):
    """Shortcut A: every second pixel, the new channels zero."""

    def __init__(self, outputs):
        super().__init__()
        self.more = outputs // 4

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))


class ResNet20(nn.Module):
    """He et al. 2015 for CIFAR-10."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        stage = lambda i, o, s: nn.Sequential(
            *[Block(i if n == 0 else o, o, s if n == 0 else 1, True) for n in range(3)]
        )
        self.layer1, self.layer2, self.layer3 = stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2)
        self.pool, self.linear = nn.AvgPool2d(8), nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(self.pool(x).flatten(1))


class ResNet2B(nn.Module):
    """The network of VNN-COMP 2021: two blocks, no batch norm."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.layer1 = nn.Sequential(Block(8, 16, 2, False), Block(16, 16, 1, False))
        self.linear1, self.linear2 = nn.Linear(1024, 100), nn.Linear(100, 10)

    def forward(self, x):
        x = self.layer1(F.relu(self.conv1(x)))
        return self.linear2(F.relu(self.linear1(x.flatten(1))))


PUBLISHED = {
    "resnet20": (ResNet20, "pytorch_resnet_cifar10/resnet20-12fca82f.th", (0.229, 0.224, 0.225)),
    "resnet2b": (ResNet2B, "alpha-beta-CROWN/resnet2b.pth", (0.2471, 0.2435, 0.2616)),
}
MEAN = {"resnet20": (0.485, 0.456, 0.406), "resnet2b": (0.4914, 0.4822, 0.4465)}
COUNT = {"resnet20": 4, "resnet2b": 12}


@pytest.fixture(params=PUBLISHED)
def published(request, data_dir):
    """A network, images as it wants them, and their labels."""
    make, path, deviation = PUBLISHED[request.param]
    state = torch.load(data_dir / "weights" / path, map_location="cpu", weights_only=True)["state_dict"]
    network = make()
    network.load_state_dict(
        {k.removeprefix("module."): v for k, v in state.items()}, strict=request.param != "resnet20"
    )
    count = COUNT[request.param]
    with lzma.open(data_dir / "cifar-10" / "cifar-10-batches-bin" / "test_batch.bin.xz") as file:
        rows = np.frombuffer(file.read(3073 * count), np.uint8).reshape(count, 3073)
    x = torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32) / 255)
    shape = lambda v: torch.tensor(v, dtype=torch.float64).view(3, 1, 1)
    x = (x - shape(MEAN[request.param])) / shape(deviation)
    network = network.double().eval()
    assert (network(x).argmax(-1).numpy() == rows[:, 0]).mean() > 0.6  # the weights are where they belong
    return network, x


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
        if not isinstance(module, Block):
            return None

        def forward(x):
            out = module.bn2(module.conv2(F.relu(module.bn1(module.conv1(x)))))
            return F.relu(module.canonizer_sum(torch.stack([module.shortcut(x), out], -1)))

        return {"canonizer_sum": zennit.layer.Sum(), "forward": forward}

    return [zennit.canonizers.SequentialMergeBatchNorm(), zennit.canonizers.AttributeCanonizer(attributes)]


def zennit_map(zennit, network, x, target, rule, canonizers):
    layers = [(zennit.types.Linear, rule)]
    composite = zennit.composites.LayerMapComposite(layers + zennit.composites.layer_map_base(), canonizers)
    start = lambda out: out * torch.nn.functional.one_hot(target, 10)
    with zennit.attribution.Gradient(network, composite) as attribute:
        return attribute(x, start)[1].detach()


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
    maps = lrp(network, x, target, rule=Composite(ours, sums=FIXED))[0]
    prepared = eps_moved_into_the_variance(network)
    wanted = zennit_map(zennit, prepared, x, target, theirs, canonised(zennit))
    assert error(maps, wanted) < 1e-9


def test_without_canonisation_zennit_is_far_off(zennit, published):
    network, x = published
    target = network(x).argmax(-1)
    maps = lrp(network, x, target, rule=Composite(Epsilon(1e-6), sums=FIXED))[0]
    assert error(zennit_map(zennit, network, x, target, zennit.rules.Epsilon(1e-6), []), maps) > 0.5
