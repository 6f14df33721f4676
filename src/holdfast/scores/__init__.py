"""Scores: a number per image for a pair of maps or of predictions, its chance level, and the statistics of many.

`(clean, attacked, ...) -> [..., B]`. What a score promises is in `score.facts`. Two scores of the same images are told
apart by `compare`, and several comparisons by `holm`. How good predictions are, given the labels: `nll` and the others.
"""

from holdfast.scores.calibration import brier, entropy, expected_calibration_error, nll
from holdfast.scores.chance import chance_corrected, chance_level
from holdfast.scores.cosine import cosine
from holdfast.scores.facts import Facts
from holdfast.scores.k_lrp import k_lrp
from holdfast.scores.label_preserved import label_preserved
from holdfast.scores.softmax_robustness import softmax_robustness
from holdfast.scores.spearman import spearman
from holdfast.scores.statistics import Comparison, compare, holm
from holdfast.scores.total_variation import total_variation

__all__ = [
    "Comparison",
    "Facts",
    "brier",
    "chance_corrected",
    "chance_level",
    "compare",
    "cosine",
    "entropy",
    "expected_calibration_error",
    "holm",
    "k_lrp",
    "label_preserved",
    "nll",
    "softmax_robustness",
    "spearman",
    "total_variation",
]
