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
Layer = Callable[[Tensor, Tensor], Tensor]  # (input, weight) -> output without bias

LINEAR = F.linear
LAYERS = {F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d}
FLOOR = 1e-20  # keeps the slope of the square root finite where an output has no variance


class WeightNoise(TorchFunctionMode):
    """While active, layers whose weights are among `means` act as if the weights were random.

    Args:
        means: the tensors that the network is run with, by name.
        ratios: for each of them, its variance in units of `scales ** 2`, same shape.
        scales: one standard deviation for each of them.
        estimator: "auto", "local" or "flipout".
        generator: where the noise comes from, on the tensors' device.
    """

    def __init__(
        self,
        means: Mapping[str, Tensor],
        ratios: Mapping[str, Tensor],
        scales: Mapping[str, float],
        estimator: Estimator,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.known = {id(means[name]): (ratio, scales[name]) for name, ratio in ratios.items()}
        self.estimator = estimator
        self.generator = generator
        self.drawn: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in LAYERS:
            x, weight, bias, rest, options = layer_arguments(args, kwargs)
            if id(weight) in self.known:
                run = lambda inputs, w: func(inputs, w, None, *rest, **options)
                return self._layer(func, run, self._plain(x), weight, bias)
        args, kwargs = tree_map_only(Tensor, self._plain, (args, kwargs))
        return func(*args, **kwargs)

    def _layer(self, func: Callable, run: Layer, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ratio, scale = self.known[id(weight)]
        channel = -1 if func is LINEAR else 1
        once = func is LINEAR and x.ndim == 2
        mean = run(x, weight)
        if bias is not None:
            mean = mean + _along(bias, mean, channel)
        if self.estimator == "local" or (self.estimator == "auto" and once):
            variance = run(x.square(), ratio) * scale**2 + FLOOR
            if id(bias) in self.known:
                variance = variance + _along(self.known[id(bias)][0], mean, channel) * self.known[id(bias)][1] ** 2
            return torch.addcmul(mean, variance.sqrt(), self._normal(mean.shape, mean))
        moved = run(x * self._signs(x, channel), self._noise(weight))
        out = torch.addcmul(mean, moved, self._signs(mean, channel))
        if id(bias) not in self.known:
            return out
        ratio, scale = self.known[id(bias)]
        spread = _along(ratio.sqrt() * scale, mean, channel)
        return torch.addcmul(out, spread, self._normal(_per_image(mean, channel), mean))

    def _plain(self, tensor: Tensor) -> Tensor:
        """One draw of a known tensor, the same throughout the forward pass; any other tensor as it is."""
        key = id(tensor)
        if key not in self.known:
            return tensor
        if key not in self.drawn:
            self.drawn[key] = tensor + self._noise(tensor)
        return self.drawn[key]

    def _noise(self, tensor: Tensor) -> Tensor:
        ratio, scale = self.known[id(tensor)]
        return ratio.sqrt() * self._normal(ratio.shape, ratio) * scale

    def _normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=like.dtype, device=like.device)

    def _signs(self, like: Tensor, channel: int) -> Tensor:
        shape = _per_image(like, channel)
        bits = torch.randint(0, 2, shape, generator=self.generator, device=like.device)
        return (2 * bits - 1).to(like.dtype)


def _along(vector: Tensor, like: Tensor, channel: int) -> Tensor:
    """One number for each channel, shaped to meet `like`."""
    return vector if channel == -1 else vector.view(-1, *[1] * (like.ndim - 2))


def _per_image(like: Tensor, channel: int) -> tuple[int, ...]:
    """One number for each image and channel, shaped to meet `like`."""
    shape = [1] * like.ndim
    shape[0], shape[channel] = like.shape[0], like.shape[channel]
    return tuple(shape)


def layer_arguments(args: tuple, kwargs: dict[str, Any]) -> tuple:
    """Input, weight, bias, other arguments by place, other arguments by name, of a call of one of `LAYERS`."""
    options = dict(kwargs)
    absent = tuple(options.pop(name, None) for name in ("input", "weight", "bias")[len(args) :])
    return (*(args + absent)[:3], args[3:], options)
