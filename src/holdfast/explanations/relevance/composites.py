"""Composites: which rule each weighted map takes, by its kind, its depth or its name.

A composite is one rule for all, or a function of the `Layer`. The presets are those in common use (Lapuschkin et al.
2019, Montavon et al. 2019, Kohlbrenner et al. 2020): a special rule for the first map, one for convolutions, epsilon
for the linear maps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from holdfast.explanations.relevance.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, Rule, ZBox, ZPlus
from holdfast.explanations.relevance.stabiliser import Stabiliser


@dataclass(frozen=True)
class Layer:
    """A weighted map as a composite sees it.

    Attributes:
        name: name of the module that ran it ("" in the network's own forward).
        kind: "linear", "convolution" or "norm" (one that is not folded into a map before it).
        index: place among the linear and convolutional maps, 0 at the images; None for norms.
        count: how many linear and convolutional maps there are.
    """

    name: str
    kind: str
    index: int | None
    count: int

    @property
    def first(self) -> bool:
        """The map nearest to the images."""
        return self.index == 0


Choice = Callable[[Layer], Rule | Pass]


@dataclass(frozen=True)
class Composite:
    """Rules for the maps of a network.

    Attributes:
        choose: the rule of a linear or convolutional map: a rule, or a function of its `Layer`.
        norm: the rule of norms that stand alone.
        sums: the stabiliser of residual sums, averages and products.
        names: modules that `choose` knows by name; each must be in the network, and may be a norm.
    """

    choose: Rule | Choice
    norm: Rule | Pass = field(default_factory=Epsilon)
    sums: Stabiliser = field(default_factory=Stabiliser)
    names: frozenset[str] = frozenset()

    def rule(self, layer: Layer) -> Rule | Pass:
        """The rule that `layer` takes."""
        if layer.kind == "norm" and layer.name not in self.names:
            return self.norm
        rule = self.choose if isinstance(self.choose, Rule | Pass) else self.choose(layer)
        if not callable(rule) or not hasattr(rule, "keeps_zeros"):
            raise TypeError(
                f"lrp: the composite chose {rule!r} for layer '{layer.name}'; expected a rule like Epsilon()."
            )
        return rule


def composite(call: str, rule: "Rule | Composite | Choice", network: nn.Module) -> Composite:
    """Any way to say which rules to use on `network`, as a `Composite`."""
    if isinstance(rule, Composite):
        missing = sorted(rule.names - dict(network.named_modules()).keys())
        if missing:
            raise ValueError(f"{call}: the composite has a rule for '{missing[0]}', which is no module of the network.")
        return rule
    if isinstance(rule, type) or not (isinstance(rule, Rule | Pass) or callable(rule)):
        raise TypeError(
            f"{call}: rule must be a rule like Epsilon(), a composite, or a function of the layer, got {rule!r}."
        )
    return Composite(rule)


def by_kind(*, convolution: Rule, linear: Rule, first: Rule | None = None) -> Composite:
    """One rule for convolutions, one for linear maps, and one for the map nearest to the images."""

    def choose(layer: Layer) -> Rule:
        if layer.first and first is not None:
            return first
        return convolution if layer.kind == "convolution" else linear

    return Composite(choose)


def by_depth(rules: Sequence[Rule]) -> Composite:
    """One rule for each linear or convolutional map, from the images on."""

    def choose(layer: Layer) -> Rule:
        if layer.count != len(rules):
            raise ValueError(f"by_depth: got {len(rules)} rules for a network of {layer.count} weighted maps.")
        return rules[layer.index]

    return Composite(choose)


def by_name(rules: Mapping[str, Rule], default: Rule) -> Composite:
    """The rules of the modules named; `default` for the others."""
    return Composite(lambda layer: rules.get(layer.name, default), names=frozenset(rules))


def epsilon_plus_flat() -> Composite:
    """Flat for the first map, z+ for convolutions, epsilon for linear maps."""
    return by_kind(first=Flat(), convolution=ZPlus(), linear=Epsilon())


def epsilon_gamma_box(low: float | Sequence[float] = 0.0, high: float | Sequence[float] = 1.0) -> Composite:
    """z-box for the first map, gamma 1/4 for convolutions, epsilon for linear maps; pixels lie in `[low, high]`."""
    return by_kind(first=ZBox(low, high), convolution=Gamma(0.25), linear=Epsilon())


def epsilon_alpha2_beta1() -> Composite:
    """Alpha 2, beta 1 for convolutions, epsilon for linear maps."""
    return by_kind(convolution=AlphaBeta(2, 1), linear=Epsilon())
