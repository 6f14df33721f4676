"""Shifted: add a fixed image to whatever a network sees.

    y = x + shift

With one shift of noise for each draw, an ensemble of one network is that network on noisy copies of the image: what
SmoothGrad averages, as something that can be attacked and explained like any other ensemble.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary


class Shift(nn.Module):
    """`x + shift`, with a buffer `shift` of zeros at first.

    Args:
        shape: of one image.

    >>> shift = Shift((2,))
    >>> shift.shift += torch.tensor([1.0, -1.0])
    >>> shift(torch.zeros(1, 2))
    tensor([[ 1., -1.]])
    """

    shift: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(tuple(shape)))

    def forward(self, x: Tensor) -> Tensor:
        """Images `[B, *shape]` to images of the same shape."""
        return shift_images(x, self.shift)


def shift_images(x: Tensor, shift: Tensor) -> Tensor:
    """`x + shift`, under a name of its own: LRP hands all relevance to the shifted image, and none to the shift.

    >>> shift_images(torch.zeros(1, 2), torch.ones(2))
    tensor([[1., 1.]])
    """
    if has_torch_function_unary(x):
        return handle_torch_function(shift_images, (x,), x, shift)
    return x + shift


def shifted(network: nn.Module, shape: Sequence[int]) -> nn.Sequential:
    """Put `Shift(shape)` before a network, whose layers are then called `network.NAME`.

    >>> list(shifted(nn.Linear(4, 2), (4,)).state_dict())
    ['shift.shift', 'network.weight', 'network.bias']
    """
    together = nn.Sequential(OrderedDict(shift=Shift(shape), network=network))
    if hasattr(network, "recipe"):
        together.recipe = {"name": "shifted", "shape": list(shape), "network": network.recipe}
    return together
