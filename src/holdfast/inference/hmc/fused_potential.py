"""Fused potential: a plain network's full-batch likelihood and its gradient, written out over blocks of images.

    U(z) = -1/T sum_i log softmax(f(x_i; z))_{y_i},     all N images, K chains at once

Forward, one softmax and two products per layer back, over blocks of rows that stay in the cache, with the weight
gradients added up in float32. The gradient may be taken in bfloat16: any deterministic force leaves the leapfrog
reversible and volume-preserving, and the Metropolis test sees energies from float32 products summed in float64.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.layers import Affine
from holdfast.inference.hmc.precision import products
from holdfast.tiles import MEMORY

ROWS = 2000  # images per block for one chain on a CPU: fastest of 500 to 5,000 for fc2 512
SMALLEST = 256  # of a block that many chains share


class FusedPotential:
    """Likelihood of a plain network. See `potential` for the arguments."""

    def __init__(
        self,
        front: list[nn.Module],
        layers: list[Affine],
        coordinates: Coordinates,
        images: Tensor,
        labels: Tensor,
        *,
        temperature: float,
        precision: str,
        memory: int = MEMORY,
    ) -> None:
        self.layers, self.coordinates, self.labels = layers, coordinates, labels
        self.temperature, self.precision, self.memory = temperature, precision, memory
        self.rows = ROWS if images.device.type == "cpu" else len(images[0])  # a GPU has no cache to stay in
        with torch.no_grad():
            flat = images.flatten(0, 1)
            for module in front:
                flat = module.to(images.device)(flat)
        self.inputs = flat.view(*images.shape[:2], -1)
        self.low = self.inputs.to(torch.bfloat16) if precision == "bfloat16" else self.inputs
        turned = self.low.mT
        self.turned = turned.contiguous() if precision == "bfloat16" else turned  # halves the first layer's way back

    def nll(self, z: Tensor) -> Tensor:
        """Minus the log likelihood over the temperature `[K]`, float64."""
        weights = self.coordinates.parameters(z)
        total = torch.zeros(len(z), dtype=torch.float64, device=z.device)
        with torch.no_grad():
            for block in self._blocks(len(z)):
                logits = self._forward(weights, self.inputs[:, block])[-1]
                total += _losses(logits.double().log_softmax(-1), self.labels[:, block]).sum(1)
        return total / self.temperature

    def gradient(self, z: Tensor) -> Tensor:
        """The gradient of `nll` by z `[K, d]`, in the precision asked for."""
        weights = self.coordinates.parameters(z, self.low.dtype)
        flat = torch.zeros_like(z)
        into = self.coordinates.views(flat)
        first = into[self.layers[0].weight]
        turned = torch.zeros_like(first.mT.contiguous())
        with torch.no_grad(), products(self.precision):
            for block in self._blocks(len(z)):
                self._add_gradients(weights, block, into, turned)
            first.copy_(turned.mT)
        return self.coordinates.pull_back(flat)

    def second_moments(self, z: Tensor, rows: Tensor) -> list[tuple[Affine, Tensor, float]]:
        """Of every layer over some images and all chains: mean of x x^T `[in, in]`, mean square of the back-signal."""
        weights = self.coordinates.parameters(z)
        found = []
        with torch.no_grad():
            outs = self._forward(weights, self.inputs[:, rows].expand(len(z), -1, -1))
            slope = _slope(outs[-1], self.labels[:, rows], self.temperature)
            for number in range(len(self.layers) - 1, -1, -1):
                layer, x = self.layers[number], outs[number].flatten(0, 1)
                slope = layer.pull_back(slope, outs[number + 1])
                found.append((layer, x.T @ x / len(x), float(slope.square().mean()) * self.temperature))
                slope = slope @ weights[layer.weight]
        return found

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`nll` and `gradient`."""
        return self.nll(z), self.gradient(z)

    def _blocks(self, chains: int) -> list[slice]:
        count, rows = self.inputs.shape[1], max(min(self.rows, SMALLEST), self.rows // chains)
        widths = self.inputs.shape[2] + sum(self.coordinates.places[layer.weight].shape[0] for layer in self.layers)
        each = 2 * widths * self.inputs.element_size() * chains  # every layer's output, and what goes back through it
        rows = max(1, min(rows, self.memory // each))
        return [slice(i, min(i + rows, count)) for i in range(0, count, rows)]

    def _forward(self, weights: Mapping[str, Tensor], x: Tensor) -> list[Tensor]:
        """The input and the output of every layer."""
        outs = [x]
        for layer in self.layers:
            bias = weights[layer.bias] if layer.bias else None
            outs.append(layer.forward(outs[-1], weights[layer.weight], bias))
        return outs

    def _add_gradients(
        self, weights: Mapping[str, Tensor], block: slice, into: Mapping[str, Tensor], first: Tensor
    ) -> None:
        """Add a block's gradients to those of every parameter, the first layer's turned round in `first`."""
        outs = self._forward(weights, self.low[:, block])
        slope = _slope(outs[-1].to(first.dtype), self.labels[:, block], self.temperature).to(self.low.dtype)
        for number in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[number]
            slope = layer.pull_back(slope, outs[number + 1])
            if layer.bias:
                into[layer.bias].add_(slope.sum(1))
            if number:
                into[layer.weight].add_(_product(slope.mT, outs[number]))
                slope = _product(slope, weights[layer.weight])
            else:
                first.add_(_product(self.turned[:, :, block], slope))


def _slope(logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Gradient of the loss by the logits `[K, B, C]`; the softmax goes along rows, faster than along a short axis."""
    slope = logits.mT.softmax(1)
    minus = slope.new_full((1, 1, 1), -1.0).expand(len(slope), 1, slope.shape[2])
    slope.scatter_add_(1, labels[:, None].expand_as(minus), minus)
    return slope.div_(temperature).mT


def _product(a: Tensor, b: Tensor) -> Tensor:
    if len(a) == len(b) == 1:
        return torch.mm(a[0], b[0])[None]  # faster than a batched product of one
    return torch.bmm(a.expand(len(b), -1, -1), b)


def _column(labels: Tensor, like: Tensor) -> Tensor:
    return labels.expand(len(like), -1)[..., None]


def _losses(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    return -log_probabilities.gather(-1, _column(labels, log_probabilities))[..., 0]
