"""The relevance tape: layer-wise relevance propagation (LRP) as plain tensor code."""

from holdfast.explanations.relevance import activations, convolutions, linear, norms, pools, shapes, sums
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
from holdfast.explanations.relevance.registry import register
from holdfast.explanations.relevance.rules import AlphaBeta, Epsilon, Flat, Gamma, Pass, Rule, WSquare, ZBox, ZPlus
from holdfast.explanations.relevance.stabiliser import Stabiliser

__all__ = [
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "Layer",
    "Pass",
    "Rule",
    "Stabiliser",
    "WSquare",
    "ZBox",
    "ZPlus",
    "activations",
    "by_depth",
    "by_kind",
    "by_name",
    "convolutions",
    "epsilon_alpha2_beta1",
    "epsilon_gamma_box",
    "epsilon_plus_flat",
    "linear",
    "norms",
    "pools",
    "register",
    "shapes",
    "sums",
]
