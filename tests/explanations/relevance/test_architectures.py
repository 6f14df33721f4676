"""Whole architectures, small, as people write them: they run unchanged, and epsilon to zero is gradient times input."""

import pytest
import torch
import torch.nn.functional as F
from little_networks import settle
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations import (
    AlphaBeta,
    Composite,
    Epsilon,
    Gamma,
    Pass,
    Stabiliser,
    epsilon_alpha2_beta1,
    epsilon_gamma_box,
    epsilon_plus_flat,
    lrp,
)
from holdfast.explanations.relevance import explainer


def vgg():
    block = lambda i, o: (nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))
    pool = lambda: nn.MaxPool2d(2, 2)
    features = nn.Sequential(*block(3, 4), pool(), *block(4, 6), *block(6, 6), pool())
    head = (nn.Linear(24, 10), nn.ReLU(True), nn.Dropout(), nn.Linear(10, 4))
    return nn.Sequential(features, nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), *head)


class Bottleneck(nn.Module):
    def __init__(self, i, o, stride=1, bottleneck=True):
        super().__init__()
        if bottleneck:
            sizes = ((i, o // 2, 1, 1), (o // 2, o // 2, 3, stride), (o // 2, o, 1, 1))
        else:
            sizes = ((i, o, 3, stride), (o, o, 3, 1))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, k, s, k // 2, bias=False) for a, b, k, s in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _, _ in sizes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or i != o:
            self.downsample = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        for conv, norm in zip(self.convs[:-1], self.norms[:-1]):
            x = self.relu(norm(conv(x)))
        x = self.norms[-1](self.convs[-1](x))
        x += identity
        return self.relu(x)


class ResNet(nn.Module):
    def __init__(self, bottleneck):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if bottleneck else nn.Identity()
        self.layer1 = nn.Sequential(Bottleneck(4, 4, 1, bottleneck), Bottleneck(4, 8, 2, bottleneck))
        self.layer2 = nn.Sequential(Bottleneck(8, 8, 1, bottleneck))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(x))), 1))


class OptionA(nn.Module):
    """The CIFAR ResNet's parameter-free shortcut: every other pixel, padded with zero channels."""

    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, 2, 1), nn.Linear(8, 4)

    def forward(self, x):
        h = F.relu(self.c1(x))
        h = F.relu(self.c2(h) + F.pad(h[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2), "constant", 0))
        return self.fc(F.avg_pool2d(h, h.size()[3]).view(h.size(0), -1))


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 + 2 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(4 + 2 * i, 2, 3, padding=1, bias=False) for i in range(3))
        self.last, self.fc = nn.BatchNorm2d(10), nn.Linear(10, 4)

    def forward(self, x):
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs):
            features.append(conv(F.relu(norm(torch.cat(features, 1)), inplace=True)))
        h = F.relu(self.last(torch.cat(features, 1)), inplace=True)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(h, (1, 1)), 1))


class MobileNet(nn.Module):
    """Inverted residuals: expand, depthwise, project; ReLU6."""

    def __init__(self):
        super().__init__()
        step = lambda i, o, k, s=1, g=1: (nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o))
        self.stem = nn.Sequential(*step(3, 4, 3, 2), nn.ReLU6(inplace=True))
        body = (
            *step(4, 12, 1),
            nn.ReLU6(inplace=True),
            *step(12, 12, 3, 1, 12),
            nn.ReLU6(inplace=True),
            *step(12, 4, 1),
        )
        self.block = nn.Sequential(*body)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 4))

    def forward(self, x):
        h = self.stem(x)
        h = h + self.block(h)
        return self.head(nn.functional.adaptive_avg_pool2d(h, (1, 1)).reshape(h.shape[0], -1))


class Squeezed(nn.Module):
    """A squeeze-and-excitation gate and hard swish."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6)
        self.down, self.up = nn.Conv2d(6, 2, 1), nn.Conv2d(2, 6, 1)
        self.fc = nn.Linear(6, 4)

    def forward(self, x):
        h = F.hardswish(self.norm(self.conv(x)))
        gate = F.hardsigmoid(self.up(F.relu(self.down(F.adaptive_avg_pool2d(h, 1)))))
        return self.fc((gate * h).mean([2, 3]))


class ViT(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(0.1 * torch.randn(1, 10, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False) if encoder else nn.ModuleList([layer])
        self.norm, self.head, self.encoder = nn.LayerNorm(8), nn.Linear(8, 4), encoder

    def forward(self, x):
        h = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat((self.token.expand(h.shape[0], -1, -1), h), dim=1) + self.places
        for block in [self.blocks] if self.encoder else self.blocks:
            h = block(h)
        return self.head(self.norm(h)[:, 0])


PIECEWISE_LINEAR = {
    "VGG": vgg,
    "ResNet-20 style": lambda: ResNet(False),
    "ResNet-50 style": lambda: ResNet(True),
    "option A": OptionA,
    "DenseNet": DenseNet,
    "MobileNet": MobileNet,
}
OTHERS = {"squeeze and excite": Squeezed, "ViT": lambda: ViT(True), "ViT by hand": lambda: ViT(False)}


def images():
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(6), dtype=torch.float64)


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_epsilon_to_zero_is_gradient_times_input(name):
    network, x = settle(PIECEWISE_LINEAR[name]()), images().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[:, 2].sum(), x)
    tiny = Stabiliser(1e-15, relative=False)
    found = lrp(network, x.detach(), 2, rule=Composite(Epsilon(1e-15), norm=Epsilon(1e-15), sums=tiny))[0]
    expected = gradient * x.detach()
    assert (found - expected).abs().max() < 1e-6 * expected.abs().max()
    assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("name", [*PIECEWISE_LINEAR, *OTHERS])
def test_every_rule_runs_on_every_architecture(name, monkeypatch):
    make = (PIECEWISE_LINEAR | OTHERS)[name]
    networks = [settle(make(), seed) for seed in range(3)]
    e, x = Ensemble.from_networks(networks), images()
    rules = [Epsilon(), Gamma(), AlphaBeta(), Composite(Epsilon(), norm=Pass())]
    for rule in [*rules, epsilon_plus_flat(), epsilon_gamma_box(), epsilon_alpha2_beta1()]:
        monkeypatch.setattr(explainer, "ONE_BY_ONE", 1 << 60)
        beside = lrp(e, x, 1, rule=rule)
        monkeypatch.setattr(explainer, "ONE_BY_ONE", 0)
        alone = lrp(e, x, 1, rule=rule)
        assert torch.isfinite(beside).all()
        assert beside.abs().max() > 0
        assert (beside - alone).abs().max() < 1e-9 * beside.abs().max(), rule
    assert torch.allclose(networks[1](x), e[1].logits(x)[0])


def test_transformers_conserve_relevance_without_constants():
    network, x = settle(ViT(True)), images()
    with torch.no_grad():
        for key, p in network.named_parameters():
            if key.endswith("bias") or key in ("token", "places"):
                p.zero_()
    tiny = Stabiliser(1e-15, relative=False)
    for norm in (Epsilon(1e-15), Pass()):
        maps = lrp(network, x, 0, rule=Composite(Epsilon(1e-15), norm=norm, sums=tiny), layer=["input", "norm", ""])
        at = {k: m[0].flatten(1).sum(1) for k, m in maps.items()}
        assert torch.allclose(at["norm"], at[""], rtol=1e-6)
    layers = ["blocks.layers.0", "blocks.layers.1", "blocks.layers.0.self_attn.out_proj", "norm"]
    with pytest.raises(ValueError, match="did not run in the forward pass"):
        lrp(network, x, 0, layer=layers)  # the weights of out_proj are used, the module is not called
    assert all(torch.isfinite(m).all() for m in lrp(network, x, 0, layer=[layers[0], layers[1], layers[3]]).values())
