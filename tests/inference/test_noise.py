"""Weight noise: the law of the outputs against networks whose weights are really drawn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from holdfast.inference.noise import WeightNoise

DRAWS = 8000
COPIES = 8  # of the batch in one forward pass
LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), (3, 6)),
    "linear without bias": (lambda: nn.Linear(6, 4, bias=False), (3, 6)),
    "linear over tokens": (lambda: nn.Linear(6, 4), (2, 3, 6)),
    "conv": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), (2, 2, 5, 5)),
    "conv groups, dilation": (lambda: nn.Conv2d(4, 4, 2, groups=2, dilation=2), (2, 4, 5, 4)),
    "conv circular": (lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", bias=False), (2, 2, 4, 4)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 2), (2, 2, 5)),
    "conv3d": (lambda: nn.Conv3d(1, 2, 2), (2, 1, 3, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1), (2, 2, 3, 3)),
}


class ByName(nn.Module):
    """Calls the layer with named arguments."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(4, 6)), nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return F.linear(bias=self.bias, input=x, weight=self.weight)


class Plain(nn.Module):
    """Uses its weights in ways that no layer knows."""

    def __init__(self):
        super().__init__()
        self.matrix, self.scale = nn.Parameter(torch.zeros(4, 6)), nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return (x @ self.matrix.t()) * self.scale + self.matrix.sum(1)


LAYERS["called by name"] = (ByName, (3, 6))
LAYERS["plain"] = (Plain, (3, 6))


def problem(name):
    make, shape = LAYERS[name]
    layer, generator = make().double(), torch.Generator().manual_seed(3)
    draw = lambda p: torch.randn(p.shape, generator=generator, dtype=torch.float64)
    means = {k: draw(p) for k, p in layer.named_parameters()}
    ratios = {k: 0.1 + draw(p).square() for k, p in layer.named_parameters()}
    scales = {k: 0.5 + i for i, k in enumerate(means)}
    return layer, means, ratios, scales, torch.randn(shape, generator=generator, dtype=torch.float64)


def noisy_outputs(name, estimator):
    layer, means, ratios, scales, x = problem(name)
    generator, outputs = torch.Generator().manual_seed(0), []
    for _ in range(DRAWS // COPIES):
        with WeightNoise(means, ratios, scales, estimator, generator):
            outputs.append(functional_call(layer, means, (x.repeat(COPIES, *[1] * (x.ndim - 1)),)))
    return torch.cat(outputs).view(DRAWS, len(x), *outputs[0].shape[1:])


def sampled_outputs(name):
    layer, means, ratios, scales, x = problem(name)
    generator = torch.Generator().manual_seed(1)
    noise = {k: torch.randn((DRAWS, *m.shape), generator=generator, dtype=m.dtype) for k, m in means.items()}
    draws = {k: m + ratios[k].sqrt() * scales[k] * noise[k] for k, m in means.items()}
    return torch.vmap(lambda w: functional_call(layer, w, (x,)))(draws)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("estimator", ["auto", "local", "flipout"])
def test_mean_and_variance_are_those_of_drawn_weights(name, estimator):
    noisy, sampled = noisy_outputs(name, estimator), sampled_outputs(name)
    n = DRAWS if estimator == "local" and name != "plain" else DRAWS // COPIES  # copies share some of their noise
    spread = sampled.var(0)
    assert ((noisy.mean(0) - sampled.mean(0)).abs() < 5 * (spread / n + spread / DRAWS).sqrt()).all()
    kurtosis = ((sampled - sampled.mean(0)) ** 4).mean(0) / spread**2  # of products of Gaussians where there are any
    error = (kurtosis * (1 / n + 1 / DRAWS)).sqrt()
    assert ((noisy.var(0) / spread - 1).abs() < 6 * error).all()


@pytest.mark.parametrize("name", ["conv", "linear over tokens"])
def test_flipout_keeps_the_covariance_between_positions_and_local_does_not(name):
    sampled, exact, independent = (f.flatten(2)[:, 0] for f in (
        sampled_outputs(name), noisy_outputs(name, "auto"), noisy_outputs(name, "local")))  # fmt: skip
    covariance = [torch.cov(f.T) for f in (sampled, exact, independent)]
    scale = covariance[0].diagonal().sqrt()
    correlation = [c / scale / scale[:, None] for c in covariance]
    assert (correlation[0] - torch.eye(len(scale))).abs().max() > 0.3  # there is something to keep
    assert (correlation[1] - correlation[0]).abs().max() < 0.1
    assert (correlation[2] - torch.eye(len(scale))).abs().max() < 0.1


def test_linear_outputs_have_the_exact_law_in_closed_form():
    _, means, ratios, scales, x = problem("linear")
    variance = x**2 @ (ratios["weight"] * scales["weight"] ** 2).T + ratios["bias"] * scales["bias"] ** 2
    noisy = noisy_outputs("linear", "auto")
    assert ((noisy.var(0) / variance - 1).abs() < 6 * (2 / DRAWS) ** 0.5).all()
    assert ((noisy.mean(0) - (x @ means["weight"].T + means["bias"])).abs() < 5 * (variance / DRAWS).sqrt()).all()


def test_images_get_independent_noise():
    name = "conv"
    noisy = noisy_outputs(name, "flipout").flatten(2)
    a, b = noisy[:, 0], noisy[:, 1]
    correlation = ((a - a.mean(0)) * (b - b.mean(0))).mean(0) / a.std(0) / b.std(0)
    assert correlation.abs().max() < 5 / DRAWS**0.5


def test_no_variance_gives_the_plain_network_and_finite_slopes():
    layer, means, _, scales, x = problem("linear")
    ratios = {k: torch.zeros_like(m).requires_grad_() for k, m in means.items()}
    with WeightNoise(means, ratios, scales, "local", torch.Generator().manual_seed(0)):
        out = functional_call(layer, means, (torch.zeros_like(x),))
    assert torch.allclose(out, means["bias"].expand_as(out), atol=1e-8)
    out.sum().backward()
    assert torch.isfinite(ratios["weight"].grad).all()


def test_other_layers_run_as_they_are():
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)).eval()
    x = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(x)
        with WeightNoise({}, {}, {}, "auto", torch.Generator()):
            assert torch.equal(network(x), expected)
