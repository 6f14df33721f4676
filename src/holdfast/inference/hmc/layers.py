"""Layers of a plain network: the chains of linear maps and activations whose gradient is written out by hand.

    parameterless layers, Linear, activation, Linear, ..., Linear

The layers before the first linear one (normalisation of the images, flattening) have no parameters: their output is
computed once. Everything else takes the general way, see `autograd_potential`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Backward = Callable[[Tensor, Tensor, nn.Module], Tensor]  # (gradient by the output, the output, module) -> by the input


def _leaky(gradient: Tensor, out: Tensor, module: nn.Module) -> Tensor:
    return torch.ops.aten.leaky_relu_backward(gradient, out, getattr(module, "negative_slope", 0.0), True)


def _tanh(gradient: Tensor, out: Tensor, _: nn.Module) -> Tensor:
    return torch.ops.aten.tanh_backward(gradient, out)


def _sigmoid(gradient: Tensor, out: Tensor, _: nn.Module) -> Tensor:
    return torch.ops.aten.sigmoid_backward(gradient, out)


def _relu(gradient: Tensor, out: Tensor, _: nn.Module) -> Tensor:
    return torch.ops.aten.threshold_backward(gradient, out, 0)


ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor, nn.Module], Tensor], Backward]] = {
    nn.ReLU: (lambda x, _: x.relu_(), _relu),
    nn.LeakyReLU: (lambda x, m: nn.functional.leaky_relu_(x, m.negative_slope), _leaky),
    nn.Tanh: (lambda x, _: x.tanh_(), _tanh),
    nn.Sigmoid: (lambda x, _: x.sigmoid_(), _sigmoid),
}


@dataclass(frozen=True)
class Affine:
    """A linear layer and the activation after it.

    Attributes:
        weight, bias: names of its parameters; None where there is no bias.
        activation: the module after it, None behind the last layer.
    """

    weight: str
    bias: str | None
    activation: nn.Module | None

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer and its activation for each chain; a stack of one goes through the two-dimensional product."""
        if len(weight) == 1:
            if _fusible(self, x, bias):
                slope = getattr(self.activation, "negative_slope", 0.0)
                return torch.ops.mkldnn._linear_pointwise(x[0], weight[0], bias[0], "leaky_relu", [slope], "")[None]
            out = (torch.mm(x[0], weight[0].T) if bias is None else torch.addmm(bias[0], x[0], weight[0].T))[None]
        else:
            x = x.expand(len(weight), -1, -1)
            out = torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias[:, None], x, weight.mT)
        return out if self.activation is None else ACTIVATIONS[type(self.activation)][0](out, self.activation)

    def pull_back(self, gradient: Tensor, out: Tensor) -> Tensor:
        """The gradient by the activation's input, from that by its output."""
        if self.activation is None:
            return gradient
        return ACTIVATIONS[type(self.activation)][1](gradient, out, self.activation)


def _fusible(layer: Affine, x: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN applies the activation while a product's block is still in the cache."""
    return (
        isinstance(layer.activation, nn.ReLU | nn.LeakyReLU)
        and bias is not None
        and x.dtype == torch.bfloat16
        and x.device.type == "cpu"
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # without AVX-512 it raises where the plain product works
    )


def plain_layers(network: nn.Module) -> tuple[list[nn.Module], list[Affine]] | None:
    """The parameterless layers in front and the linear layers of a plain network; None for any other network.

    >>> front, layers = plain_layers(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> len(front), [(layer.weight, type(layer.activation).__name__) for layer in layers]
    (1, [('1.weight', 'ReLU'), ('3.weight', 'NoneType')])
    """
    modules = list(_in_sequence(network))
    first = next((i for i, (_, m) in enumerate(modules) if isinstance(m, nn.Linear)), None)
    if first is None or any(True for _, m in modules[:first] for _ in m.parameters()):
        return None
    layers: list[Affine] = []
    for name, module in modules[first:]:
        if type(module) is nn.Linear:
            bias = None if module.bias is None else f"{name}.bias".lstrip(".")
            layers.append(Affine(f"{name}.weight".lstrip("."), bias, None))
        elif type(module) in ACTIVATIONS and layers[-1].activation is None and _slope(module) >= 0:
            layers[-1] = Affine(layers[-1].weight, layers[-1].bias, module)
        elif not isinstance(module, nn.Identity | nn.Dropout):  # dropout does nothing in evaluation
            return None
    names = [name for layer in layers for name in (layer.weight, layer.bias) if name]
    hidden_only = all(layer.activation is not None for layer in layers[:-1]) and layers[-1].activation is None
    return ([m for _, m in modules[:first]], layers) if hidden_only and _same(names, network) else None


def _in_sequence(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The leaves of nested plain `nn.Sequential`s, in order; any other container counts as one leaf."""
    if type(module) is not nn.Sequential:
        yield prefix, module
        return
    for name, child in module.named_children():
        yield from _in_sequence(child, f"{prefix}.{name}".lstrip("."))


def _same(names: list[str], network: nn.Module) -> bool:
    return sorted(names) == sorted(name for name, _ in network.named_parameters(remove_duplicate=False))


def _slope(module: nn.Module) -> float:
    return getattr(module, "negative_slope", 0.0)  # a negative one would hide the sign of the input
