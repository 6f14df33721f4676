"""Affine: one weighted map of the network, z = f(a, w, b), as the rules see it.

Linear and convolutional layers, with a batch norm folded in where one follows, and norms on their own (a scale and a
shift per channel) all look alike to a rule: inputs a, outputs z, weights w, bias b, the map and its transpose.
"""

from collections.abc import Callable
from typing import Literal, Protocol

from torch import Tensor

from holdfast.explanations.relevance.stabiliser import Stabiliser, plus, times

Bias = Literal["absorb", "share", "ignore"]


class Geometry(Protocol):
    """How the inputs, weights and outputs of a kind of map belong together."""

    def forward(self, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """Outputs."""

    def transpose(self, s: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """`sum_j w_ij s_j` for every input i; `a` shows the inputs' shape."""

    def over(self, v: Tensor) -> Tensor:
        """A vector with one value per output channel, shaped to meet the outputs."""

    def scaled(self, w: Tensor, k: Tensor) -> Tensor:
        """Weights of the map whose outputs are `k` times as large, one factor per output channel."""

    def evenly(self, part: Tensor, w: Tensor, a: Tensor) -> Tensor:
        """What each input receives where every output hands `part` in equal parts to the inputs that it sees."""

    def folds(self, z: Tensor) -> bool:
        """The outputs' channels are the axis after the batch, so that a batch norm can be folded in."""


class Affine:
    """One weighted map.

    Attributes:
        a: inputs.
        z: outputs, the bias included.
        w, b: weights and bias; `b` may be None.
        geometry: how inputs, weights and outputs belong together.
        nonneg: no input is below zero, for sure.
        relu: a ReLU follows at once, and no relevance arrives where it is off.
        cut: the output of that ReLU, where it is known.
        derived: z did not come out of `forward` itself, so its rounding differs.
        shares: the bias hands its relevance to the inputs in equal parts.
    """

    __slots__ = ("_b", "a", "cut", "derived", "geometry", "nonneg", "relu", "shares", "w", "z")

    def __init__(
        self,
        a: Tensor,
        z: Tensor,
        w: Tensor,
        b: Tensor | Callable[[], Tensor] | None,
        geometry: "Geometry",
        nonneg: bool = False,
        relu: bool = False,
        derived: bool = False,
        shares: bool = False,
        cut: Tensor | None = None,
    ) -> None:
        self.a, self.z, self.w, self._b, self.geometry = a, z, w, b, geometry
        self.nonneg, self.relu, self.derived, self.shares, self.cut = nonneg, relu, derived, shares, cut

    @property
    def b(self) -> Tensor | None:
        """The bias; worked out when first asked for, since few rules ask."""
        if callable(self._b):
            self._b = self._b()
        return self._b

    def forward(self, a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """The map with other inputs, weights or bias."""
        return self.geometry.forward(a, w, b)

    def transpose(self, s: Tensor, w: Tensor) -> Tensor:
        """What belongs to each input: `sum_j w_ij s_j`."""
        return self.geometry.transpose(s, w, self.a)

    def over(self, v: Tensor) -> Tensor:
        """A vector with one value per output channel, shaped to meet z."""
        return self.geometry.over(v)

    def size(self, stabiliser: Stabiliser, z: Tensor | None = None) -> Tensor:
        """The stabiliser's e for the outputs, or for others of the same map."""
        z = self.z if z is None else z
        return stabiliser.size(z, self.geometry.folds(z))

    def with_bias(self, bias: Bias) -> "Affine":
        """The same map with another treatment of its bias: absorb, share or ignore."""
        if bias == "absorb" or self._b is None:
            return self
        if bias == "share":
            known = (self.nonneg, self.relu, self.derived, True, self.cut)
            return Affine(self.a, self.z, self.w, self.b, self.geometry, *known)
        z = self.z - self.over(self.b)  # a ReLU that follows looks at z with the bias, so it is no longer known here
        return Affine(self.a, z, self.w, None, self.geometry, self.nonneg, derived=True)

    def folded(self, scale: "Affine") -> "Affine":
        """This map and the scale and shift per channel that follow it, as one map."""
        w = self.geometry.scaled(self.w, scale.w)
        b = lambda: scale.b if self.b is None else scale.b + scale.w * self.b
        return Affine(self.a, scale.z, w, b, self.geometry, self.nonneg, scale.relu, derived=True, cut=scale.cut)

    def magnitudes(self, part: float = 1) -> tuple[Tensor, Tensor, Tensor | None]:
        """Sums of the contributions' magnitudes, `part (|a||w| + |b|)`, with `part |w|` and `part |b|`."""
        w, b = (v if v is None else v.abs() * part if part != 1 else v.abs() for v in (self.w, self.b))
        return self.forward(self.a if self.nonneg else self.a.abs(), w, b), w, b

    def spread(self, s: Tensor, t: Tensor, w: Tensor) -> Tensor:
        """What inputs receive at `s` a unit of their contributions and `t` a unit of those' magnitudes."""
        back, more = self.transpose(s, self.w), self.transpose(t, w)
        if self.nonneg:
            return times(self.a, plus(back, more))
        return plus(times(self.a, back), times(self.a.abs(), more))

    def bias_share(self, part: Tensor) -> Tensor:
        """The relevance `part` `[like z]` of the bias, handed in equal parts to the inputs that each output sees."""
        return self.geometry.evenly(part, self.w, self.a)
