"""Affine: one weighted map of the network, z = f(a, w, b), as the rules see it.

Linear and convolutional layers, with a batch norm folded in where one follows, and norms on their own (a scale and a
shift per channel) all look alike to a rule: inputs a, outputs z, weights w, bias b, the map and its transpose.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Bias = Literal["absorb", "share", "ignore"]


@dataclass(slots=True)
class Affine:
    """One weighted map.

    Attributes:
        a: inputs.
        z: outputs, the bias included.
        w, b: weights and bias (`b` may be None).
        forward: `(a, w, b) -> z`.
        transpose: `(s, w) -> ` what belongs to each input: `sum_j w_ij s_j`.
        over: shapes a vector with one value per output channel to meet z.
        scaled: `(w, k) -> ` weights of the map whose outputs are `k` times as large, one factor per output channel.
        nonneg: no input is below zero, for sure.
        relu: a ReLU follows at once, and no relevance arrives where it is off.
        shares: the bias hands its relevance to the inputs in equal parts.
    """

    a: Tensor
    z: Tensor
    w: Tensor
    b: Tensor | None
    forward: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    transpose: Callable[[Tensor, Tensor], Tensor]
    over: Callable[[Tensor], Tensor]
    scaled: Callable[[Tensor, Tensor], Tensor]
    nonneg: bool = False
    relu: bool = False
    shares: bool = False

    def linear_part(self) -> Tensor:
        """z without the bias."""
        return self.z if self.b is None else self.z - self.over(self.b)

    def with_bias(self, bias: Bias) -> "Affine":
        """The same map with another treatment of its bias: absorb, share or ignore."""
        if self.b is None or bias == "absorb":
            return self
        if bias == "share":
            return replace(self, shares=True)
        return replace(self, z=self.linear_part(), b=None, relu=False)  # the ReLU acts on z with the bias

    def folded(self, k: Tensor, shift: Tensor, z: Tensor) -> "Affine":
        """This map and the scale and shift per channel that follow it, as one map with outputs `z`."""
        b = shift if self.b is None else shift + k * self.b
        return replace(self, w=self.scaled(self.w, k), b=b, z=z)

    def bias_share(self, part: Tensor) -> Tensor | float:
        """The relevance `part` `[like z]` of the bias, handed in equal parts to the inputs that each output sees."""
        if not self.shares:
            return 0.0
        ones = torch.ones_like(self.w)
        seen = self.forward(torch.ones_like(self.a), ones, None)  # fewer at a padded border
        return self.transpose(part / seen, ones)
