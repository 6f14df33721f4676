"""Attacks: searches within a budget for images that mislead an ensemble, and proof that they search hard enough.

An attack is an objective (`holdfast.attacks.objectives`) raised by a search (one file each) within a `Budget`.
"""

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.masking import Check, Masking, masking_report
from holdfast.attacks.one_step import fgsm
from holdfast.attacks.projected_gradient import pgd
from holdfast.attacks.random_noise import random_noise

__all__ = ["Attacked", "Check", "Masking", "fgsm", "masking_report", "pgd", "random_noise"]
