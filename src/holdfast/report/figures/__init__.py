"""Figures of the page: one figure, one file; each takes a `View` and gives drawn panels."""

from holdfast.report.figures.canvas import Plot
from holdfast.report.figures.curves import curves
from holdfast.report.figures.differences import differences
from holdfast.report.figures.explanation_sheet import explanation_sheet
from holdfast.report.figures.forest import by_attack, by_subset
from holdfast.report.figures.layers import layers
from holdfast.report.figures.mixing import mixing
from holdfast.report.figures.radii import accuracy, survival
from holdfast.report.figures.scatter import scatter

__all__ = [
    "Plot",
    "accuracy",
    "by_attack",
    "by_subset",
    "curves",
    "differences",
    "explanation_sheet",
    "layers",
    "mixing",
    "scatter",
    "survival",
]
