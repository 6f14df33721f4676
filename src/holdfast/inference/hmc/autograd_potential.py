"""Autograd potential: the full-batch likelihood of any network, by automatic differentiation over blocks of images.

    U(z) = -1/T sum_i log softmax(f(x_i; z))_{y_i}

For every network that `layers.plain_layers` does not know: convolutions, residual sums, attention.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.precision import products
from holdfast.inference.training import Weights, member_logits
from holdfast.tiles import MEMORY, TILE, activation_bytes


class AutogradPotential:
    """Likelihood of any network. See `potential` for the arguments."""

    def __init__(
        self,
        network: nn.Module,
        fixed: Mapping[str, Tensor],
        coordinates: Coordinates,
        images: Tensor,
        labels: Tensor,
        *,
        temperature: float,
        precision: str,
        memory: int = MEMORY,
    ) -> None:
        self.network, self.fixed, self.coordinates = network.eval(), dict(fixed), coordinates
        self.images, self.labels = images, labels
        self.temperature, self.precision, self.memory = temperature, precision, memory
        self.rows: int | None = None

    def nll(self, z: Tensor) -> Tensor:
        """Minus the log likelihood over the temperature `[K]`, float64."""
        weights = self.coordinates.parameters(z)
        total = torch.zeros(len(z), dtype=torch.float64, device=z.device)
        with torch.no_grad():
            for images, labels in self._blocks(weights):
                logits = self._logits(weights, images)
                total += _loss(logits.double(), labels.expand(len(z), -1))
        return total / self.temperature

    def gradient(self, z: Tensor) -> Tensor:
        """The gradient of `nll` by z `[K, d]`, in the precision asked for."""
        weights = self.coordinates.parameters(z)
        flat = torch.zeros_like(z)
        into = self.coordinates.views(flat)
        leaves = {name: w.requires_grad_() for name, w in weights.items()}
        with products(self.precision), torch.enable_grad():
            for images, labels in self._blocks(weights):
                with self._cast(z.device):
                    logits = self._logits(leaves, images)
                loss = _loss(logits.to(z.dtype), labels.expand(len(z), -1)).sum() / self.temperature
                slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
                for name, slope in zip(leaves, slopes, strict=True):
                    if slope is not None:  # of a weight that the images do not meet: its posterior is its prior
                        into[name].add_(slope)
        return self.coordinates.pull_back(flat)

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`nll` and `gradient`."""
        return self.nll(z), self.gradient(z)

    def _logits(self, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
        stack = len(next(iter(weights.values())))
        return member_logits(self.network, {**weights, **self.fixed}, images.expand(stack, *images.shape[1:]))

    def _blocks(self, weights: Weights) -> Iterator[tuple[Tensor, Tensor]]:
        if self.rows is None:
            first = {k: v[0].detach() for k, v in (*weights.items(), *self.fixed.items())}
            each = activation_bytes(lambda x: functional_call(self.network, first, (x,)), self.images[0, :1])
            self.rows = max(
                1, min(TILE, self.memory) // (2 * each * len(next(iter(weights.values()))))
            )  # twice: what goes back, too
        for i in range(0, self.images.shape[1], self.rows):
            yield self.images[:, i : i + self.rows], self.labels[:, i : i + self.rows]

    def _cast(self, device: torch.device) -> AbstractContextManager:
        if self.precision == "bfloat16":
            return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
        return nullcontext()


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over the images, for each chain `[K]`."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).sum(1)
