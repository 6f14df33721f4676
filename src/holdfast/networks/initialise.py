"""He-scaled initial weights for any network.

    weight ~ N(0, 2 / fan_in),  bias = 0

which keeps the variance of the activations from layer to layer under ReLU-like units (He et al. 2015,
arXiv:1502.01852, eq. 10).
"""

import math

import torch
from torch import Tensor, nn

Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def initialise(network: nn.Module, seed: int) -> nn.Module:
    """Draw He-scaled weights for every layer of `network`, in place, and return it.

    A parameter with two axes or more is a weight: it is drawn from `N(0, 2 / fan_in)`. Normalisation layers start as
    the identity with empty statistics. Parameters called `bias` become zero. Other vectors (a learnt scale, say) are
    what their layer's own `reset_parameters` makes of them where it has one, and stay as they are where it has none.

    Args:
        network: any module; its parameters are overwritten, whatever device they are on.
        seed: the same seed gives the same weights on every device.

    Returns:
        The same `network`.

    >>> layer = initialise(nn.Linear(200, 100), seed=0)
    >>> round(float(layer.weight.detach().std()), 2), float(layer.bias.detach().abs().max())
    (0.1, 0.0)
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # a layer's own reset_parameters may draw from the global state
        for layer in network.modules():
            own = dict(layer.named_parameters(recurse=False))
            if (own or dict(layer.named_buffers(recurse=False))) and not _has_weight(own):
                reset = getattr(layer, "reset_parameters", None)
                if callable(reset):
                    reset()
            for name, parameter in own.items():
                _fill(layer, name, parameter, generator)
    return network


def fan_in(parameter: Tensor, *, transposed: bool = False) -> int:
    """How many inputs feed one unit: the size of one row of a weight `[units, inputs, ...]`.

    For a transposed convolution the weight is `[inputs, units, ...]`, and `inputs` times the kernel is the count.

    >>> fan_in(torch.empty(16, 3, 5, 5))
    75
    """
    return parameter.numel() // parameter.shape[1 if transposed else 0]


def _has_weight(own: dict[str, Tensor]) -> bool:
    return any(p.ndim >= 2 for p in own.values())


def _fill(layer: nn.Module, name: str, parameter: Tensor, generator: torch.Generator) -> None:
    if parameter.ndim >= 2:
        inputs = fan_in(parameter, transposed=isinstance(layer, Transposed))
        draw = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * math.sqrt(2 / inputs)
        parameter.copy_(draw)
    elif name == "bias":
        parameter.zero_()
