"""Attacked: what every attack returns. One shared image per input and radius, and what it did to the ensemble."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.check import Masking


@dataclass(frozen=True, eq=False, repr=False)
class Attacked:
    """Attacked images of `B` inputs under `E` radii, with what was reached. Prints as a table with its checks.

    Attributes:
        name: the attack.
        images: attacked images `[E, B, *image]`, each within its budget.
        success: `[E, B]`, whether the decision of the log predictive is wrong (targeted: is the target).
        clean_predicted: class `[B]` that the ensemble gives the clean images.
        predicted: class `[E, B]` that it gives the attacked images.
        size_linf, size_l2: size `[E, B]` of each perturbation in either norm, whatever the budget's norm.
        epsilons: the `E` radii.
        settings: everything else that the images depend on.
        masking: checks that the attack does not fail for a wrong reason: the cheap ones of the masking report, on up to
            a hundred of the images (`holdfast.attacks.signs`). They cost about 8 forward passes of these images and 2
            per radius, which of 40 steps of PGD on 500 images is 2 %.

    >>> from holdfast.attacks import fgsm
    >>> from holdfast.budget import Budget
    >>> from holdfast.ensemble import Ensemble
    >>> network = torch.nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> x, y = torch.tensor([[.6, .5]]), torch.tensor([0])
    >>> fgsm(Ensemble.from_networks(network), x, y, budget=Budget("linf", .1))
    fgsm on 1 image
    linf 0.1: success 100.0%, label kept 0.0%, mean size linf 0.1, l2 0.141
    pass  deterministic: the same images get the same answer.
    pass  differentiable: gradients of the logits exist.
    pass  logits: the outputs are logits.
    pass  saturation: 0.0% of the largest probabilities are exactly 1.
    pass  zero_gradient: 0.0% of the gradients of the ordinary cross-entropy are exactly zero.
    pass  derivative: on 100.0% of a few images the logits change along their gradient as it says.
    pass  order: accuracy: clean 100.0%, random noise 100.0%, fgsm 0.0%.
    pass  sizes: hardly any image withstood the attack.
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
    masking: Masking | None = None

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

    def __repr__(self) -> str:
        count, norm = self.images.shape[1], self.settings.get("norm", "radius")
        kept, linf, l2 = (t.double().mean(1).tolist() for t in (self.label_kept, self.size_linf, self.size_l2))
        lines = [f"{self.name} on {count} image{'s' * (count != 1)}"]
        lines += [
            f"{norm} {e:.3g}: success {s:.1%}, label kept {k:.1%}, mean size linf {i:.3g}, l2 {t:.3g}"
            for e, s, k, i, t in zip(self.epsilons, self.success_rate, kept, linf, l2, strict=True)
        ]
        return "\n".join(lines + ([str(self.masking)] if self.masking else []))


def check_attacked(call: str, attacked: object) -> None:
    """What is judged must be an attack's whole result, not the images alone."""
    if not isinstance(attacked, Attacked):
        raise TypeError(f"{call}: expected the result of an attack, such as fgsm(...), got {type(attacked).__name__}.")


def sizes(moved: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The linf and the l2 size `[...]` of `moved - x`, both of shape `[..., B, *image]`, `x` `[B, *image]`."""
    d = (moved - x).flatten(-(x.ndim - 1))
    return d.abs().amax(-1), torch.linalg.vector_norm(d, dim=-1)
