"""Explanations: `(ensemble, x, target, ...) -> maps [S, B, *image]`, one method, one file."""

from holdfast.explanations.adversarial_gradient_integration import adversarial_gradient_integration, adversarial_walk
from holdfast.explanations.boundary_deep_lift import boundary_deep_lift
from holdfast.explanations.boundary_integrated_gradients import boundary_integrated_gradients
from holdfast.explanations.boundary_saliency import boundary_saliency
from holdfast.explanations.boundary_smooth_grad import boundary_smooth_grad
from holdfast.explanations.deep_lift import deep_lift
from holdfast.explanations.fusion_grad import fusion_grad
from holdfast.explanations.gradient_times_input import gradient_times_input
from holdfast.explanations.integrated_gradients import completeness_error, integrated_gradients
from holdfast.explanations.lrp import lrp, strongest_units
from holdfast.explanations.mean_map_gradient import mean_map_gradient
from holdfast.explanations.noise_grad import noise_grad
from holdfast.explanations.relevance import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Layer,
    Pass,
    Quantiles,
    Rule,
    Stabiliser,
    TopCounts,
    WSquare,
    ZBox,
    ZPlus,
    by_depth,
    by_kind,
    by_name,
    epsilon_alpha2_beta1,
    epsilon_gamma_box,
    epsilon_plus_flat,
    heatmap,
)
from holdfast.explanations.saliency import saliency
from holdfast.explanations.sanity import class_sensitivity, conservation, parameter_randomisation
from holdfast.explanations.smooth_grad import smooth_grad
from holdfast.explanations.summary import Summary, reduce_draws, summarise

__all__ = [
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "Layer",
    "Pass",
    "Quantiles",
    "Rule",
    "Stabiliser",
    "Summary",
    "TopCounts",
    "WSquare",
    "ZBox",
    "ZPlus",
    "adversarial_gradient_integration",
    "adversarial_walk",
    "boundary_deep_lift",
    "boundary_integrated_gradients",
    "boundary_saliency",
    "boundary_smooth_grad",
    "by_depth",
    "by_kind",
    "by_name",
    "class_sensitivity",
    "completeness_error",
    "conservation",
    "deep_lift",
    "epsilon_alpha2_beta1",
    "epsilon_gamma_box",
    "epsilon_plus_flat",
    "fusion_grad",
    "gradient_times_input",
    "heatmap",
    "integrated_gradients",
    "lrp",
    "mean_map_gradient",
    "noise_grad",
    "parameter_randomisation",
    "reduce_draws",
    "saliency",
    "smooth_grad",
    "strongest_units",
    "summarise",
]
