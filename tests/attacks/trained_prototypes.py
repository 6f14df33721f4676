"""Networks fitted to ten prototypes, and two ways to explain them that keep their graphs: what tests of maps share."""

from functools import lru_cache

import torch
from torch.func import functional_call

from holdfast.ensemble import Ensemble
from holdfast.explanations import Epsilon, lrp


def gradient_map(ensemble, x, y):
    """Input gradients of the class scores, one draw at a time."""
    maps = []
    for s in range(len(ensemble)):
        weights = {k: v[s] for k, v in ensemble.weights.items()}
        score = functional_call(ensemble.network, weights, (x,)).gather(1, y[:, None]).sum()
        maps.append(torch.autograd.grad(score, x, create_graph=True)[0])
    return torch.stack(maps)


def relevance_map(ensemble, x, y):
    return lrp(ensemble, x, y, rule=Epsilon(0.1), create_graph=True)


@lru_cache
def trained(draws=1, dtype=torch.float32, smooth=False):
    """Networks fitted to ten prototypes of 8 x 8 pixels, and fifteen images of them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(10, 1, 4, 4, generator=generator)
    prototypes = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear")
    y = torch.arange(600) % 10
    x = (prototypes[y] + 0.1 * torch.randn(600, 1, 8, 8, generator=generator)).clamp(0, 1)
    networks = []
    for _ in range(draws):
        act = torch.nn.Tanh if smooth else torch.nn.ReLU
        layers = [torch.nn.Flatten(), torch.nn.Linear(64, 48), act(), torch.nn.Linear(48, 48), act()]
        network = torch.nn.Sequential(*layers, torch.nn.Linear(48, 10))
        with torch.no_grad():
            for p in network.parameters():
                p.copy_((p.ndim > 1) * torch.randn(p.shape, generator=generator) * (2 / p.shape[-1]) ** 0.5)
        optimiser = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(60):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()
        networks.append(network.to(dtype))
    return Ensemble.from_networks(networks), x[:15].to(dtype)
