"""The relevance tape: layer-wise relevance propagation (LRP) as plain tensor code."""

from holdfast.explanations.relevance import (  # each registers its functions
    activations,
    attention,
    convolutions,
    linear,
    norms,
    pools,
    products,
    shapes,
    sums,
)
from holdfast.explanations.relevance.composites import (
    Composite,
    Layer,
    by_depth,
    by_kind,
    by_name,
    epsilon_alpha2_beta1,
    epsilon_gamma_box,
    epsilon_plus_flat,
)
from holdfast.explanations.relevance.heatmap import heatmap
from holdfast.explanations.relevance.reductions import Quantiles, TopCounts
from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, Rule, WSquare, ZBox, ZPlus
from holdfast.explanations.relevance.stabiliser import Stabiliser
from holdfast.explanations.relevance.tape import Call, Step

__all__ = [
    "AlphaBeta",
    "Call",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "Layer",
    "Pass",
    "Quantiles",
    "Rule",
    "Stabiliser",
    "Step",
    "TopCounts",
    "WSquare",
    "ZBox",
    "ZPlus",
    "activations",
    "attention",
    "by_depth",
    "by_kind",
    "by_name",
    "convolutions",
    "epsilon_alpha2_beta1",
    "epsilon_gamma_box",
    "epsilon_plus_flat",
    "heatmap",
    "linear",
    "norms",
    "pools",
    "products",
    "register",
    "shapes",
    "sums",
]
