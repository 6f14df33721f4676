"""Standardised inputs that the first layer takes up: fit a network on (x - m) / s, and get one that takes x.

    W ((x - m) / s) + b = W' x + b',    W' = W / s,    b' = b - (m / s) sum_j W_j

with one mean m and one deviation s for all pixels. The fan-in prior is meant for inputs of unit variance, and a
posterior with independent weights is another one after such a change of coordinates: what a mean of the pixels other
than zero adds to every unit is noise that a mean-field posterior can only remove by giving up units. The result is
exact and an ordinary network of the architecture handed in, so that attacks and heatmaps meet no further layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.data.dataset import Split
from holdfast.ensemble import Ensemble, skeleton
from holdfast.inference.layers import layers_in_order
from holdfast.inference.training import Weights, check_problem, initial_weights
from holdfast.networks.normalise import normalised


def fit_standardised(
    call: str, network: nn.Module, data: Split, wanted: bool, fit: Callable[[nn.Module], Ensemble]
) -> Ensemble:
    """Fit a network to standardised inputs where that is wanted and its first layer can take them up.

    Args:
        call: name of the public function, for messages.
        network: the architecture.
        data: what it is fitted to.
        wanted: whether to standardise.
        fit: gives draws of the architecture that it is handed.

    Returns:
        draws of `network` itself; their settings say under "standardised" by which numbers, or None.
    """
    check_problem(call, network, data)
    inside = Standardised(network, data) if wanted else None
    if inside is None or not inside.possible:
        ensemble, numbers = fit(network), None
    else:
        ensemble, numbers = inside.absorb(fit(inside.network)), {"mean": inside.mean, "deviation": inside.deviation}
    diagnostics = ensemble.diagnostics
    settings = {**diagnostics.settings, "standardised": numbers}
    return replace(ensemble, diagnostics=replace(diagnostics, settings=settings))


class Standardised:
    """A network behind (x - mean) / deviation, and the way back.

    Attributes:
        network: the architecture to fit, with `Normalise` before it.
        mean, deviation: of all pixels of the data.
        possible: whether the first layer can take them up: not where a convolution pads the images with zeros, where
            it has no bias, or where the images are used elsewhere too.
    """

    def __init__(self, network: nn.Module, data: Split) -> None:
        self.original = network
        pixels = data.images.detach()
        self.mean, self.deviation = (float(v.float()) for v in (pixels.mean(), pixels.std(correction=0)))
        self.possible = self.deviation > 0
        if self.possible:
            self.network = normalised(network, self.mean, self.deviation)
            same = dict(self.network.named_parameters()).keys() == dict(network.named_parameters()).keys()
            self.prefix = "" if same else "network."
            self.possible = self._try(data)

    def absorb(self, ensemble: Ensemble) -> Ensemble:
        """Draws of `network` as draws of the original architecture: the same functions of the images."""
        diagnostics = ensemble.diagnostics
        by_layer = {
            name: {k.removeprefix(self.prefix): v for k, v in value.items()} if isinstance(value, Mapping) else value
            for name, value in diagnostics.summary.items()
        }
        weights = self.absorb_weights(ensemble.weights)
        return Ensemble(skeleton(self.original), weights, replace(diagnostics, summary=by_layer))

    def absorb_weights(self, weights: Mapping[str, Tensor]) -> Weights:
        """Stacks of weights `[S, ...]` of `network` as those of the original architecture."""
        names = [k for k, _ in (*self.original.named_parameters(), *self.original.named_buffers())]
        absorbed = {k: weights[self.prefix + k] for k in names}
        scaled = absorbed[self.weight] / self.deviation
        shifted = absorbed[self.bias] - self.mean * scaled.flatten(2).sum(2)
        return absorbed | {self.weight: scaled, self.bias: shifted}

    def _try(self, data: Split) -> bool:
        """Absorb random weights, and see whether the outputs stay what they were."""
        one = Split(data.images[:1].double(), data.labels[:1])
        parameters, buffers = initial_weights(self.network, [0], one)
        generator = torch.Generator().manual_seed(0)
        draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64).to(one.images.device)
        parameters = {k: v + 0.1 * draw(*v.shape) for k, v in parameters.items()}
        single = {k: v[0] for k, v in (*parameters.items(), *buffers.items())}
        layers = layers_in_order(skeleton(self.network), single, one.images)
        if not layers or layers[0].bias is None:
            return False
        self.weight, self.bias = (name.removeprefix(self.prefix) for name in (layers[0].weight, layers[0].bias))
        if single[layers[0].bias].shape != single[layers[0].weight].shape[:1]:
            return False
        absorbed = {k: v[0] for k, v in self.absorb_weights({**parameters, **buffers}).items()}
        images = draw(3, *one.images.shape[1:])
        with torch.no_grad():
            before = functional_call(skeleton(self.network), single, (images,))
            after = functional_call(skeleton(self.original), absorbed, (images,))
        return bool(torch.allclose(before, after, rtol=1e-6, atol=1e-6 * float(before.abs().max())))
