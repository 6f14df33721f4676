"""FilterResponseNorm: each channel of each image divided by its root mean square over the pixels.

    y = scale * x / sqrt(mean_pixels x^2 + eps) + bias      per image and channel

(Singh and Krishnan 2019, arXiv:1911.09737, without the learnt threshold of that paper.) Nothing is shared between
images and there are no running statistics, so that the likelihood of an image is a function of the weights alone. That
is what a posterior over weights needs and batch normalisation does not give (Izmailov et al. 2021, arXiv:2104.14421).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6


class FilterResponseNorm(nn.Module):
    """See the module's docstring.

    Args:
        channels: of the feature maps.

    >>> maps = torch.tensor([[[[3.0, 4.0]], [[0.0, 0.5]]]])
    >>> FilterResponseNorm(2)(maps).square().mean((2, 3)).detach().round(decimals=4)
    tensor([[1., 1.]])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def reset_parameters(self) -> None:
        """Back to scale 1 and bias 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps `[B, C, H, W]` to feature maps of the same shape."""
        unit = F.rms_norm(x, x.shape[-2:], eps=EPSILON)
        return unit * self.weight[:, None, None] + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """What `print(network)` shows."""
        return str(len(self.weight))
