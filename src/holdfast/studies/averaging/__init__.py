"""Averaging: vectors that each draw of an ensemble gives for an image, and what is left of them in their mean."""

from holdfast.studies.averaging.average import Average
from holdfast.studies.averaging.input_vectors import VECTORS
from holdfast.studies.averaging.log_predictive import LogPredictive

__all__ = ["VECTORS", "Average", "LogPredictive"]
