"""Stabiliser: how a relevance rule divides by a sum of contributions that may vanish.

    R / (z + sign(z) e),  sign(0) = +1,  e = `epsilon`  or  e = `epsilon` * rms(z) + tiny

One object serves every division of the engine: rules, residual sums, averages. The relative form adapts to each layer:
rms(z) is the root mean square of the layer's outputs for one image under one draw, so that heatmaps do not change when
a network's activations are rescaled. For sequences `[B, T, E]` or `[T, B, E]` it is that of one token, which is the
same wherever the batch stands.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

TINY = 1e-30  # keeps the relative form finite where a whole layer is zero


@dataclass(frozen=True)
class Stabiliser:
    """`divide(R, z) = R / (z + sign(z) e)`.

    Attributes:
        epsilon: size of e, above 0.
        relative: take e relative to the root mean square of the layer's outputs; otherwise absolute.

    >>> Stabiliser(0.5, relative=False).divide(torch.ones(3), torch.tensor([1.5, -0.5, 0.0]))
    tensor([ 0.5000, -1.0000,  2.0000])
    """

    epsilon: float = 1e-2
    relative: bool = True

    def __post_init__(self) -> None:
        number = isinstance(self.epsilon, int | float) and not isinstance(self.epsilon, bool)
        if not number or not 0 < self.epsilon < math.inf:
            raise ValueError(f"Stabiliser: epsilon must be a number above 0, got {self.epsilon!r}; try 1e-6.")

    def size(self, z: Tensor, channels_first: bool = False) -> Tensor:
        """e for the layer outputs `z` `[B, ...]`: a number, or one per image `[B, 1, ...]` or token `[B, T, 1]`.

        Three axes are taken for a sequence, unless its channels are known to come right after the batch.
        """
        if not self.relative:
            return _number(self.epsilon, z.dtype, z.device)
        axes = -1 if z.ndim == 3 and not channels_first else tuple(range(1, z.ndim))
        norm = torch.linalg.vector_norm(z, dim=axes, keepdim=True)
        return self.epsilon * torch.sqrt(norm.square() * (norm.numel() / z.numel()) + TINY)

    def divide(
        self,
        relevance: Tensor,
        z: Tensor,
        size: Tensor | None = None,
        sign: int = 0,
        *,
        cut: Tensor | None = None,
        fresh: bool = False,
    ) -> Tensor:
        """Relevance over stabilised z.

        Args:
            relevance, z: numerator and denominator.
            size: e, where the caller knows it: of another z, or scaled.
            sign: 1 or -1 if z is known to have that sign, or to be zero, wherever relevance is not zero; z is then
                cut off at zero elsewhere.
            cut: z cut off at zero, where the caller has it: the output of a ReLU.
            fresh: z is a sum just made, whose memory may be used.
        """
        size = self.size(z) if size is None else size
        if cut is not None:
            return over(relevance, cut + size)
        if not sign:
            return over(relevance, plus(torch.copysign(size, z), z))
        if fresh and not torch.is_grad_enabled():
            cut = z.clamp_min_(0) if sign > 0 else z.clamp_max_(0)
        else:
            cut = z.clamp_min(0) if sign > 0 else z.clamp_max(0)
        return over(relevance, plus(cut, sign * size))


@lru_cache(64)
def _number(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.full((), value, dtype=dtype, device=device)


def times(factor: Tensor, fresh: Tensor) -> Tensor:
    """`factor * fresh`, in the memory of `fresh`, a product just made, where nobody differentiates."""
    return factor * fresh if torch.is_grad_enabled() else fresh.mul_(factor)


def plus(fresh: Tensor, term: Tensor) -> Tensor:
    """`fresh + term`, in the memory of `fresh` where nobody differentiates."""
    return fresh + term if torch.is_grad_enabled() else fresh.add_(term)


def over(numerator: Tensor, fresh: Tensor) -> Tensor:
    """`numerator / fresh`, in the memory of `fresh` where nobody differentiates; vmap has no such division."""
    if torch.is_grad_enabled() or _batched(fresh) or _batched(numerator) or numerator.shape != fresh.shape:
        return numerator / fresh
    return torch.div(numerator, fresh, out=fresh)


_batched = torch._C._functorch.is_functorch_wrapped_tensor
