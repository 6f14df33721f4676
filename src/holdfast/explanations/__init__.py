"""Explanation methods: which pixels made the ensemble decide so, as maps `[S, B, *image]`, one for every draw.

Every method has the signature `(ensemble or network, x, target, *, of, ..., memory) -> maps`; `target.py` settles the
class and the number that is explained for all of them.
"""

from holdfast.explanations.gradient_times_input import gradient_times_input
from holdfast.explanations.integrated_gradients import completeness_error, integrated_gradients
from holdfast.explanations.saliency import saliency
from holdfast.explanations.smooth_grad import smooth_grad

__all__ = ["completeness_error", "gradient_times_input", "integrated_gradients", "saliency", "smooth_grad"]
