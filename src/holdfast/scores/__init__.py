"""Scores: a number per image for a pair of maps or of predictions, its chance level, and the statistics of many.

`(clean, attacked, ...) -> [..., B]`. What a score promises is in `score.facts`. Two scores of the same images are told
apart by `compare`, and several comparisons by `holm`. How good predictions are, given the labels: `nll` and the others.
Whether a map points at the object: `localise`, with boxes or masks.
"""

from holdfast.scores.alignment import correlation, l2_distance, relative_distance
from holdfast.scores.calibration import brier, entropy, expected_calibration_error, nll
from holdfast.scores.chance import chance_corrected, chance_level
from holdfast.scores.cosine import cosine
from holdfast.scores.facts import Facts
from holdfast.scores.k_lrp import k_lrp
from holdfast.scores.label_preserved import label_preserved
from holdfast.scores.localisation import (
    concentration,
    energy_game,
    localisation,
    pointing_game,
    positive_percentage,
    relevance_mass,
    relevance_rank,
)
from holdfast.scores.localise import Localised, know_nothing, localise
from holdfast.scores.softmax_robustness import softmax_robustness
from holdfast.scores.spearman import spearman
from holdfast.scores.statistics import Comparison, compare, holm
from holdfast.scores.total_variation import total_variation

__all__ = [
    "Comparison",
    "Facts",
    "Localised",
    "brier",
    "chance_corrected",
    "chance_level",
    "compare",
    "concentration",
    "correlation",
    "cosine",
    "energy_game",
    "entropy",
    "expected_calibration_error",
    "holm",
    "k_lrp",
    "know_nothing",
    "l2_distance",
    "label_preserved",
    "localisation",
    "localise",
    "nll",
    "pointing_game",
    "positive_percentage",
    "relative_distance",
    "relevance_mass",
    "relevance_rank",
    "softmax_robustness",
    "spearman",
    "total_variation",
]
