"""Weight noise: run any network forward as if its weights were drawn from independent Gaussians, with low variance.

For a layer z = W x + b with W ~ N(M, S^2) elementwise, the weights are never drawn; noise enters at the outputs:

    local    z = M x + b + sqrt(S^2 x^2 + s_b^2) e,          e ~ N(0, 1) for every output of every image
    flipout  z = M x + b + r o (S o E)(q o x) + s_b e,       E ~ N(0, 1) shared, signs q, r for every image

Local reparameterisation (Kingma, Salimans and Welling 2015, arXiv:1506.02557) has exactly the right law where each
weight meets an image once. A convolution meets every image at many positions: there `local` keeps the right mean and
variance of each output but treats positions as independent, whereas Flipout (Wen et al. 2018, arXiv:1803.04386) keeps
the covariances between positions too. `auto` takes local where it is exact and Flipout elsewhere.

The layers are found at run time: the mode watches for `linear` and `conv` calls on the tensors it knows, so networks
need no changes. Any other use of a known tensor (a scale, a product with `@`) gets one plain draw per forward pass.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

Estimator = Literal["auto", "local", "flipout"]

LINEAR = F.linear
LAYERS = {F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
FLOOR = 1e-20  # keeps the slope of the square root finite where an output has no variance


class WeightNoise(TorchFunctionMode):
    """While active, layers whose weights are among `means` act as if the weights were random.

    Args:
        means: the tensors that the network is run with, by name.
        deviations: standard deviation of each, same shape.
        estimator: "auto", "local" or "flipout".
        generator: where the noise comes from, on the tensors' device.
    """

    def __init__(
        self,
        means: Mapping[str, Tensor],
        deviations: Mapping[str, Tensor],
        estimator: Estimator,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.deviation = {id(means[name]): d for name, d in deviations.items()}
        self.estimator = estimator
        self.generator = generator
        self.drawn: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in LAYERS:
            x, weight, bias, rest, options = _layer_arguments(args, kwargs)
            if id(weight) in self.deviation:
                return self._layer(func, self._plain(x), weight, bias, rest, options)
        args, kwargs = tree_map_only(Tensor, self._plain, (args, kwargs))
        return func(*args, **kwargs)

    def _layer(
        self, func: Callable, x: Tensor, weight: Tensor, bias: Tensor | None, rest: tuple, options: dict[str, Any]
    ) -> Tensor:
        run = lambda inputs, w, b: func(inputs, w, b, *rest, **options)
        spread, bias_spread = self.deviation[id(weight)], self.deviation.get(id(bias))
        mean = run(x, weight, bias)
        once = func is LINEAR and x.ndim == 2
        if self.estimator == "local" or (self.estimator == "auto" and once):
            variance = run(x.square(), spread.square(), None if bias_spread is None else bias_spread.square())
            return torch.addcmul(mean, (variance + FLOOR).sqrt(), self._normal(mean.shape, mean))
        channel = -1 if func is LINEAR else 1
        moved = run(x * self._signs(x, channel), spread * self._normal(spread.shape, spread), None)
        out = torch.addcmul(mean, moved, self._signs(mean, channel))
        if bias_spread is None:
            return out
        shape = _per_image(mean, channel)
        return torch.addcmul(
            out, bias_spread.view(shape[-1:] if channel == -1 else (-1, *shape[2:])), self._normal(shape, mean)
        )

    def _plain(self, tensor: Tensor) -> Tensor:
        """One draw of a known tensor, the same throughout the forward pass; any other tensor as it is."""
        key = id(tensor)
        if key not in self.deviation:
            return tensor
        if key not in self.drawn:
            self.drawn[key] = tensor + self.deviation[key] * self._normal(tensor.shape, tensor)
        return self.drawn[key]

    def _normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=like.dtype, device=like.device)

    def _signs(self, like: Tensor, channel: int) -> Tensor:
        shape = _per_image(like, channel)
        bits = torch.randint(0, 2, shape, generator=self.generator, device=like.device)
        return (2 * bits - 1).to(like.dtype)


def _per_image(like: Tensor, channel: int) -> tuple[int, ...]:
    """One number for each image and channel, shaped to meet `like`."""
    shape = [1] * like.ndim
    shape[0], shape[channel] = like.shape[0], like.shape[channel]
    return tuple(shape)


def _layer_arguments(
    args: tuple, kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor | None, tuple, dict[str, Any]]:
    options = dict(kwargs)
    values = [
        args[i] if i < len(args) else options.pop(name, None) for i, name in enumerate(("input", "weight", "bias"))
    ]
    return values[0], values[1], values[2], args[3:], options
