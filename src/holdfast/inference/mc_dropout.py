"""mc_dropout: a network trained with dropout, and thinned networks drawn from it.

    w_s = w o mask_s / (1 - p),    one mask entry for each input unit or channel of a layer, 1 with probability 1 - p

(Gal and Ghahramani 2016, arXiv:1506.02142). A control rather than a posterior: its spread is set by p, not by the data.
A draw is one thinned network, the same for all images, so that it can be attacked and explained like any other.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from holdfast.checks import check_range, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.fingerprint import data_of
from holdfast.inference.layers import Layer, layers_in_order
from holdfast.inference.noise import LAYERS, LINEAR, layer_arguments
from holdfast.inference.seeds import stream
from holdfast.inference.training import (
    Training,
    as_ensemble,
    check_count,
    check_problem,
    cross_entropy,
    initial_weights,
    private_random_state,
    train,
)

DEFAULT = Training(epochs=20)


def mc_dropout(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    rate: float = 0.2,
    training: Training = DEFAULT,
) -> Ensemble:
    """Train one network with dropout before every linear map but the first, and draw thinned networks.

    The network needs no dropout layers: inputs of linear layers are dropped unit by unit, those of convolutions channel
    by channel. Dropout layers that it has are active in training and inactive in the draws, as usual.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to train.
        seed: of the initial weights, the batch order, the masks of training and those of the draws.
        draws: how many thinned networks to draw.
        rate: probability of dropping a unit, 0 to 1, 1 excluded.
        training: epochs, batch size, optimiser, learning rate and its schedule.

    Raises:
        ValueError: for data that do not fit the network, settings out of range, or a network of a single linear map.
        FloatingPointError: where the loss stops being finite.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> network = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> len(mc_dropout(network, data, seed=0, draws=7, training=Training(epochs=2)))
    7
    """
    call = "inference.mc_dropout"
    shell = check_problem(call, network, data)
    check_seed(call, seed)
    check_count(call, "draws", draws)
    check_range(call, "rate", rate, 0, 1)
    if rate == 1:
        raise ValueError(f"{call}: rate must be below 1, got 1.")
    stacked, buffers = initial_weights(network, [seed], data)
    weights = {k: v[0] for k, v in (*stacked.items(), *buffers.items())}
    dropped = _dropped(call, network, weights, data)
    parameters = {k: weights[k].requires_grad_() for k in stacked}
    generator = stream(seed, "masks", device=data.images.device)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        with Dropout({k: parameters[k] for k in dropped}, rate, generator):
            logits = functional_call(shell, weights, (images[0],))
        return cross_entropy(logits[None], labels)

    with private_random_state(seed, data.images.device):
        groups = [(list(parameters.values()), 1.0)]
        curve = train(call, groups, loss, data, training, [stream(seed, "order")])
    settings = {"seed": seed, "draws": draws, "rate": rate, **asdict(training)}
    settings |= {"data": data_of(data)}
    diagnostics = Diagnostics("mc_dropout", settings, {"final_loss": curve[-1]}, {"loss": curve})
    thinned = {k: v.detach().expand(draws, *v.shape) for k, v in weights.items()}
    thinned |= {k: thin(thinned[k], layer, rate, stream(seed, "draws", k)) for k, layer in dropped.items()}
    kept = {k: thinned[k] for k in stacked}, {k: thinned[k] for k in buffers}
    return replace(as_ensemble(network, *kept), diagnostics=diagnostics)


class Dropout(TorchFunctionMode):
    """While active, the inputs of the layers with these weights are dropped, anew for every image."""

    def __init__(self, weights: Mapping[str, Tensor], rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self.known = {id(w) for w in weights.values()}
        self.rate = rate
        self.generator = generator

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in LAYERS:
            x, weight, bias, rest, options = layer_arguments(args, kwargs)
            if id(weight) in self.known:
                axis = x.ndim - 1 if func is LINEAR else 1
                shape = [n if i in (0, axis) else 1 for i, n in enumerate(x.shape)]
                return func(x * _mask(shape, x, self.rate, self.generator), weight, bias, *rest, **options)
        return func(*args, **kwargs)


def thin(weights: Tensor, layer: Layer, rate: float, generator: torch.Generator) -> Tensor:
    """Drop input units or channels of a stack of weights `[S, ...]` of one layer, for each draw anew."""
    if "transpose" in layer.function.__name__:  # [S, inputs, outputs / groups, ...]
        shape = (*weights.shape[:2], *[1] * (weights.ndim - 2))
        return weights * _mask(shape, weights, rate, generator)
    draws, outputs, inputs = weights.shape[:3]  # [S, outputs, inputs / groups, ...]
    mask = _mask((draws, layer.groups, 1, inputs), weights, rate, generator)
    mask = mask.expand(draws, layer.groups, outputs // layer.groups, inputs).reshape(draws, outputs, inputs)
    return weights * mask.view(draws, outputs, inputs, *[1] * (weights.ndim - 3))


def _mask(shape: tuple[int, ...] | list[int], like: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(shape, generator=generator, dtype=like.dtype, device=generator.device)
    return (uniform >= rate).to(like) / (1 - rate)


def _dropped(call: str, network: nn.Module, weights: Mapping[str, Tensor], data: Split) -> dict[str, Layer]:
    layers = layers_in_order(skeleton(network), weights, data.images[:1])
    first = layers[0].weight if layers else None
    dropped = {layer.weight: layer for layer in layers if layer.weight != first}
    if not dropped:
        raise ValueError(f"{call}: the network needs two linear maps or more: the inputs of the first are not dropped.")
    return dropped
