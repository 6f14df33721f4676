"""Layers: the modules that own parameters, in the order in which the forward pass runs them."""

import torch
from torch import Tensor

from holdfast.ensemble import Ensemble


def learnable_layers(ensemble: Ensemble, x: Tensor) -> dict[str, int]:
    """Name of every module with parameters of its own that runs -> how often it runs, ordered by its last run.

    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    >>> learnable_layers(Ensemble.from_networks(network), torch.rand(1, 2))
    {'0': 1, '2': 1}
    """
    runs: dict[str, int] = {}

    def note(name: str) -> None:
        runs[name] = runs.pop(name, 0) + 1

    handles = [
        module.register_forward_hook(lambda *_, name=name: note(name))
        for name, module in ensemble.network.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    try:
        with torch.no_grad():
            ensemble.call(x[:1].detach(), slice(1))
    finally:
        for handle in handles:
            handle.remove()
    return runs
