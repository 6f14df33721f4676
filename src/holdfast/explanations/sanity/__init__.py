"""Sanity checks of explanation methods: does a map depend on the weights, on the class, and does it add up?"""

from holdfast.explanations.sanity.class_sensitivity import class_sensitivity
from holdfast.explanations.sanity.conservation import conservation
from holdfast.explanations.sanity.parameter_randomisation import parameter_randomisation

__all__ = ["class_sensitivity", "conservation", "parameter_randomisation"]
