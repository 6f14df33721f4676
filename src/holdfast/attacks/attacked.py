"""Attacked: what every attack returns. One shared image per input and radius, and what it did to the ensemble."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Attacked:
    """Attacked images of `B` inputs under `E` radii, with what was reached.

    Attributes:
        name: the attack.
        images: attacked images `[E, B, *image]`, each within its budget.
        success: `[E, B]`, whether the decision of the log predictive is wrong (targeted: is the target).
        clean_predicted: class `[B]` that the ensemble gives the clean images.
        predicted: class `[E, B]` that it gives the attacked images.
        size_linf, size_l2: size `[E, B]` of each perturbation in either norm, whatever the budget's norm.
        epsilons: the `E` radii.
        settings: everything else that the images depend on.
    """

    name: str
    images: Tensor
    success: Tensor
    clean_predicted: Tensor
    predicted: Tensor
    size_linf: Tensor
    size_l2: Tensor
    epsilons: tuple[float, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success_rate(self) -> list[float]:
        """Share of the images on which the attack succeeded, per radius."""
        return self.success.double().mean(1).tolist()

    @property
    def label_kept(self) -> Tensor:
        """`[E, B]`: whether the decision is still that on the clean image."""
        return self.predicted == self.clean_predicted

    def accuracy(self, y: Tensor) -> list[float]:
        """Share of the attacked images that are classified as `y`, per radius."""
        return (self.predicted == y).double().mean(1).tolist()


@dataclass(frozen=True)
class Check:
    """A check of an attack or a model, with its pass rule and a plain sentence.

    Attributes:
        name: which.
        passed: whether the pass rule holds.
        value: the figure, or figures, that the rule is about.
        rule: the pass rule.
        sentence: what was found, in plain words; where the check failed, what that means.
    """

    name: str
    passed: bool
    value: Any
    rule: str
    sentence: str


def sizes(moved: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The linf and the l2 size `[...]` of `moved - x`, both of shape `[..., B, *image]`, `x` `[B, *image]`."""
    d = (moved - x).flatten(-(x.ndim - 1))
    return d.abs().amax(-1), torch.linalg.vector_norm(d, dim=-1)
