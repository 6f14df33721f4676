"""Normalise: subtract a mean and divide by a standard deviation inside the network, so that it takes images in [0, 1].

    y = (x - mean) / std      per channel

Attacks and explanations then work in pixels, whatever the network was trained on.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalise(nn.Module):
    """`(x - mean) / std`, with one number for all channels or one per channel.

    Args:
        mean: in the images' own units.
        std: positive.

    >>> Normalise(0.5, 0.25)(torch.tensor([[0.25, 0.5, 1.0]]))
    tensor([[-1.,  0.,  2.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        mean, std = torch.as_tensor(mean, dtype=torch.float32), torch.as_tensor(std, dtype=torch.float32)
        if mean.ndim > 1 or std.ndim > 1 or (mean.ndim and std.ndim and mean.shape != std.shape):
            raise ValueError(
                "Normalise: mean and std must each be a number or one number per channel, "
                f"got shapes {tuple(mean.shape)} and {tuple(std.shape)}."
            )
        if not torch.isfinite(mean).all() or not (torch.isfinite(std) & (std > 0)).all():
            raise ValueError(f"Normalise: mean must be finite and std positive, got {mean.tolist()}, {std.tolist()}.")
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, C, ...]` to normalised images of the same shape."""
        return (x - self._spread(self.mean, x)) / self._spread(self.std, x)

    def extra_repr(self) -> str:
        """What `print(network)` shows."""
        return f"mean={_short(self.mean)}, std={_short(self.std)}"

    @staticmethod
    def _spread(value: Tensor, x: Tensor) -> Tensor:
        return value.view(-1, *[1] * (x.ndim - 2)) if value.ndim else value


def normalised(network: nn.Module, mean: float | Sequence[float], std: float | Sequence[float]) -> nn.Sequential:
    """Put `Normalise(mean, std)` before a network. Layers of a plain `nn.Sequential` keep their names.

    >>> [name for name, _ in normalised(nn.Sequential(OrderedDict(output=nn.Linear(4, 2))), 0.5, 0.5).named_children()]
    ['normalise', 'output']
    """
    normalise = Normalise(mean, std)
    if type(network) is nn.Sequential and not hasattr(network, "normalise"):
        together = nn.Sequential(OrderedDict([("normalise", normalise), *network.named_children()]))
    else:
        together = nn.Sequential(OrderedDict(normalise=normalise, network=network))
    if hasattr(network, "recipe"):
        numbers = {"mean": normalise.mean.tolist(), "std": normalise.std.tolist()}
        together.recipe = {"name": "normalised", **numbers, "network": network.recipe}
    return together


def _short(values: Tensor) -> str:
    if values.device.type == "meta":
        return "?"
    return str([round(v, 4) for v in values.tolist()] if values.ndim else round(float(values), 4))
