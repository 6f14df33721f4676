"""Attacks: searches within a budget for images that mislead an ensemble, and proof that they search hard enough.

An attack is an objective (`holdfast.attacks.objectives`) raised by a search (one file each) within a `Budget`.

For those who come from Foolbox or AutoAttack: `epsilons` are the radii of a `Budget`, all tried in one call; Foolbox's
`criterion` is misclassification, or with `targeted=True` reaching the classes `y`, and for explanations the argument
`criterion`; `n_restarts` means the same; `worst_case` is AutoAttack's standard ensemble, made aware of the posterior;
`as_module` hands an ensemble to either library.
"""

from holdfast.attacks.as_module import as_module
from holdfast.attacks.attack_explanation import MovedExplanation, attack_explanation
from holdfast.attacks.attacked import Attacked
from holdfast.attacks.auto_pgd import auto_pgd, auto_pgd_targeted
from holdfast.attacks.boundary import Boundary, nearest_boundary
from holdfast.attacks.carlini_wagner import carlini_wagner
from holdfast.attacks.check import Check, Masking
from holdfast.attacks.exact_boundary import exact_boundary
from holdfast.attacks.explanation_objectives import (
    away,
    mass_centre,
    overlap,
    overlap_below,
    target_map,
    target_region,
    top_k,
)
from holdfast.attacks.in_parts import in_parts
from holdfast.attacks.masking import masking_report
from holdfast.attacks.minimal_norm import minimal_norm
from holdfast.attacks.noisy_copies import noisy_copies
from holdfast.attacks.one_step import fgsm
from holdfast.attacks.projected_gradient import pgd
from holdfast.attacks.random_noise import random_noise
from holdfast.attacks.smoothing import smoothed
from holdfast.attacks.square import square
from holdfast.attacks.transfer import transfer, transfer_table
from holdfast.attacks.worst_case import worst_case

__all__ = [
    "Attacked",
    "Boundary",
    "Check",
    "Masking",
    "MovedExplanation",
    "as_module",
    "attack_explanation",
    "auto_pgd",
    "auto_pgd_targeted",
    "away",
    "carlini_wagner",
    "exact_boundary",
    "fgsm",
    "in_parts",
    "masking_report",
    "mass_centre",
    "minimal_norm",
    "nearest_boundary",
    "noisy_copies",
    "overlap",
    "overlap_below",
    "pgd",
    "random_noise",
    "smoothed",
    "square",
    "target_map",
    "target_region",
    "top_k",
    "transfer",
    "transfer_table",
    "worst_case",
]
