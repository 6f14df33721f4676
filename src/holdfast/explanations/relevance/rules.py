"""Rules: how the relevance of a weighted map's outputs is handed to its inputs.

A rule is a callable `rule(m, R)` from an `Affine` and the relevance of its outputs to the relevance of its inputs.
In the formulas a are inputs, w weights, b biases, z = aw + b, x+ = max(x, 0), x- = min(x, 0), and every division is
stabilised (`Stabiliser`). Each rule states what becomes of the bias, see `Rule`. Sources: Bach et al. 2015 (epsilon,
alpha-beta), Montavon et al. 2017 (w2, z+, z-box), Lapuschkin et al. 2019 (flat), Montavon et al. 2019 and Andeol et
al. 2021 (gamma and its generalisation to outputs of either sign).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.checks import check_range
from holdfast.explanations.relevance.affine import Affine, Bias
from holdfast.explanations.relevance.stabiliser import Stabiliser, over, plus, times


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A relevance rule.

    Attributes:
        bias: "absorb": the bias counts in the denominators and keeps its share of the relevance (the usual way);
            "share": it counts there and its share is handed to the inputs in equal parts; "ignore": it does not count.
            Relevance is conserved by the last two, up to the stabiliser (and by alpha-beta with beta above 0 only
            where an output has contributions of both signs).
        stabiliser: how divisions are kept finite.
    """

    bias: Bias = "absorb"
    stabiliser: Stabiliser = field(default_factory=Stabiliser)

    def __post_init__(self) -> None:
        name = type(self).__name__
        if type(self) is Rule:
            raise TypeError("Rule: this is what rules have in common; use one of them, such as Epsilon().")
        if self.bias not in ("absorb", "share", "ignore"):
            raise ValueError(f"{name}: bias must be 'absorb', 'share' or 'ignore', got {self.bias!r}.")
        if not isinstance(self.stabiliser, Stabiliser):
            raise TypeError(
                f"{name}: stabiliser must be a Stabiliser, such as Stabiliser(1e-3), got {self.stabiliser!r}."
            )

    def __call__(self, m: Affine, relevance: Tensor) -> Tensor:
        """The relevance of `m.a`, given the relevance of `m.z`."""
        return self.hand_back(m.with_bias(self.bias), relevance)

    def hand_back(self, m: Affine, relevance: Tensor) -> Tensor:
        """The rule proper; the bias treatment is already in `m`."""
        raise NotImplementedError

    @property
    def keeps_zeros(self) -> bool:
        """Inputs that are zero receive no relevance."""
        return self.bias != "share"


@dataclass(frozen=True)
class Epsilon(Rule):
    """Epsilon rule: `R_i = sum_j a_i w_ij / (z_j + sign(z_j) e) R_j`.

    Args:
        epsilon: a number for a fixed e; None for the stabiliser's own.

    >>> Epsilon(1e-6).stabiliser
    Stabiliser(epsilon=1e-06, relative=False)
    """

    epsilon: float | None = None

    def __post_init__(self) -> None:
        Rule.__post_init__(self)
        if self.epsilon is not None:
            object.__setattr__(self, "stabiliser", Stabiliser(self.epsilon, relative=False))

    def hand_back(self, m: Affine, relevance: Tensor) -> Tensor:
        s = self.stabiliser.divide(relevance, m.z, m.size(self.stabiliser), int(m.relu), cut=m.cut)
        back = times(m.a, m.transpose(s, m.w))
        return back + m.bias_share(s * m.over(m.b)) if m.shares else back


@dataclass(frozen=True)
class Gamma(Rule):
    """Generalised gamma rule: positive outputs favour positive contributions, negative outputs negative ones.

    `R_i = sum_j c_ij / sum_i c_ij R_j` with `c = aw + g (aw)+` where `z_j >= 0` and `c = aw + g (aw)-` below; the bias
    counts as one more contribution. On inputs >= 0 before a ReLU this is the gamma rule of Montavon et al. 2019.
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        Rule.__post_init__(self)
        check_range("Gamma", "gamma", self.gamma, 0, 1e6)

    def hand_back(self, m: Affine, relevance: Tensor) -> Tensor:
        g, size = self.gamma, m.size(self.stabiliser)
        if m.nonneg and m.relu:  # only positive outputs matter; dividing c by 1 + g leaves one pass over the weights
            w, b = (None if t is None else F.leaky_relu(t, 1 / (1 + g)) for t in (m.w, m.b))
            s = self.stabiliser.divide(relevance, m.forward(m.a, w, b), size / (1 + g), 1, fresh=True)
            back = times(m.a, m.transpose(s, w))
            return back + m.bias_share(s * m.over(b)) if m.shares else back
        # (c + |c|) / 2 is the positive part of a contribution, (c - |c|) / 2 the negative: |a||W| serves both;
        # everything is divided by 1 + g / 2
        y, w, b = m.magnitudes(g / (2 + g))
        y = plus(y, size / (1 + g / 2))
        s = over(relevance, plus(torch.copysign(y, m.z), m.z))
        t = times(s, torch.copysign(torch.ones((), dtype=s.dtype, device=s.device), m.z))
        back = m.spread(s, t, w)
        return back + m.bias_share(s * m.over(m.b) + t * m.over(b)) if m.shares else back


@dataclass(frozen=True)
class AlphaBeta(Rule):
    """Alpha-beta rule: positive contributions weighted by alpha, negative ones by -beta, `alpha - beta = 1`.

    `R_i = sum_j (alpha (a_i w_ij)+ / (sum_i (aw)+ + b+) - beta (a_i w_ij)- / (sum_i (aw)- + b-)) R_j`
    """

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        Rule.__post_init__(self)
        if self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise ValueError(
                f"{type(self).__name__}: alpha - beta must be 1 and beta at least 0, got {self.alpha} and {self.beta}."
            )

    def hand_back(self, m: Affine, relevance: Tensor) -> Tensor:
        size = m.size(self.stabiliser)

        share = lambda z, sign, size=size: self.stabiliser.divide(relevance, z, size, sign, fresh=True)
        if not m.nonneg:  # as in Gamma: c+ = (c + |c|) / 2, c- = (c - |c|) / 2; numerator and denominator are doubled
            z = m.forward(m.a, m.w, m.b) if m.derived else m.z  # rounded alike, c- of all c >= 0 is 0
            y, w, b = m.magnitudes()
            s, t = self.alpha * share(z + y, 1, 2 * size), share(z - y, -1, 2 * size)
            s, t = torch.add(s, t, alpha=-self.beta), torch.add(s, t, alpha=self.beta)
            back = m.spread(s, t, w)
            return back + m.bias_share(s * m.over(m.b) + t * m.over(b)) if m.shares else back
        # inputs >= 0: only the weights' sign matters, and z- = z - z+
        up, down = (
            [None if v is None else clamp(v, 0) for v in (m.w, m.b)] for clamp in (torch.clamp_min, torch.clamp_max)
        )
        above = m.forward(m.a, *up)
        below = (m.forward(m.a, *down) if m.derived else m.z - above) if self.beta else None
        back = self._through(m, *up, self.alpha, share(above, 1))
        return back if below is None else plus(back, self._through(m, *down, -self.beta, share(below, -1)))

    @staticmethod
    def _through(m: Affine, w: Tensor, b: Tensor | None, by: float, s: Tensor) -> Tensor:
        """What the contributions of one sign bring back, weighted by alpha or -beta."""
        s = s if by == 1 else by * s
        part = times(m.a, m.transpose(s, w))
        return part + m.bias_share(s * m.over(b)) if m.shares else part


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """z+ rule: only positive contributions count, `R_i = sum_j (a_i w_ij)+ / (sum_i (aw)+ + b+) R_j`."""

    alpha: float = 1.0
    beta: float = 0.0


@dataclass(frozen=True)
class WSquare(Rule):
    """w2 rule, blind to the inputs: `R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j`; a bias that counts adds b^2 below."""

    bias: Bias = field(default="ignore", kw_only=True)

    def hand_back(self, m: Affine, relevance: Tensor) -> Tensor:
        return _blind(self, m, relevance, torch.square)

    @property
    def keeps_zeros(self) -> bool:
        """Inputs that are zero do receive relevance."""
        return False


@dataclass(frozen=True)
class Flat(WSquare):
    """Flat rule: every input that an output sees receives the same, `R_i = sum_j 1 / n_j R_j`; a bias counts as one."""

    def hand_back(self, m: Affine, relevance: Tensor) -> Tensor:
        return _blind(self, m, relevance, torch.ones_like)


def _blind(rule: Rule, m: Affine, relevance: Tensor, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    w, b = weigh(m.w), None if m.b is None else weigh(m.b)
    z = m.forward(torch.ones_like(m.a), w, b)
    s = rule.stabiliser.divide(relevance, z, m.size(rule.stabiliser, z))
    back = m.transpose(s, w)
    return back + m.bias_share(s * m.over(b)) if m.shares else back


@dataclass(frozen=True)
class ZBox(Rule):
    """z-box rule for inputs within `[low, high]`, in the first layer.

    `R_i = sum_j c_ij / sum_i c_ij R_j` with `c = aw - low w+ - high w-`. The bias, where it counts, adds b.

    Args:
        low, high: the range: numbers, or one per channel.
    """

    low: float | Sequence[float] = 0.0
    high: float | Sequence[float] = 1.0
    bias: Bias = field(default="ignore", kw_only=True)

    def __post_init__(self) -> None:
        Rule.__post_init__(self)
        if not bool((torch.as_tensor(self.low) <= torch.as_tensor(self.high)).all()):
            raise ValueError(f"ZBox: low must not be above high, got {self.low} and {self.high}.")

    def hand_back(self, m: Affine, relevance: Tensor) -> Tensor:
        low, high = (_bounds(v, m.a) for v in (self.low, self.high))
        up, down = m.w.clamp(min=0), m.w.clamp(max=0)
        z = m.z - m.forward(low, up, None) - m.forward(high, down, None)
        s = self.stabiliser.divide(relevance, z, m.size(self.stabiliser, z))
        back = m.a * m.transpose(s, m.w) - low * m.transpose(s, up) - high * m.transpose(s, down)
        return back + m.bias_share(s * m.over(m.b)) if m.shares else back

    @property
    def keeps_zeros(self) -> bool:
        """Inputs that are zero do receive relevance."""
        return False


def _bounds(value: float | Sequence[float], a: Tensor) -> Tensor:
    v = torch.as_tensor(value, dtype=a.dtype, device=a.device)
    if v.ndim and (a.ndim < 3 or len(v) != a.shape[1]):
        raise ValueError(f"ZBox: {len(v)} bounds, one per channel, for inputs of shape {tuple(a.shape[1:])}.")
    return (v.view(-1, *[1] * (a.ndim - 2)) if v.ndim else v).expand_as(a).contiguous()


class Pass:
    """Hand relevance on unchanged, where inputs and outputs have one shape: norms after Achtibat et al. 2024."""

    keeps_zeros = False

    def __call__(self, m: Affine, relevance: Tensor) -> Tensor:
        """The relevance itself."""
        if m.a.shape != m.z.shape:
            raise ValueError(
                f"Pass: cannot hand relevance of shape {tuple(m.z.shape)} to {tuple(m.a.shape)} unchanged."
            )
        return relevance
