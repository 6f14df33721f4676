"""Diagnostics: how far a posterior's draws are from mixed, how good they predict, and what they can resolve.

`diagnose({name: ensemble, ...}, data) -> Diagnosis`, the same tables for every way of inference.
"""

from holdfast.diagnostics.chains import chains_of, distinct_draws
from holdfast.diagnostics.diagnosis import Diagnosis, diagnose, table
from holdfast.diagnostics.export import to_arviz, write_arviz
from holdfast.diagnostics.functions import Probe, functions
from holdfast.diagnostics.mean_map import mean_map_robustness
from holdfast.diagnostics.mixing import Mixing, mixing, verdict
from holdfast.diagnostics.predictions import agreement_between_chains, agreement_with, predictive_figures

__all__ = [
    "Diagnosis",
    "Mixing",
    "Probe",
    "agreement_between_chains",
    "agreement_with",
    "chains_of",
    "diagnose",
    "distinct_draws",
    "functions",
    "mean_map_robustness",
    "mixing",
    "predictive_figures",
    "table",
    "to_arviz",
    "verdict",
    "write_arviz",
]
