"""Columns: what a reader calls the columns of the studies' tables, in sentences and above numbers."""

from holdfast.report.wording import THIN

_NAMES = {
    # heatmaps before and after an attack
    "k_lrp": "k-LRP", "k_lrp_of_draws": "k-LRP of single draws", "k_lrp_corrected": "k-LRP beyond chance",
    "chance": "chance level of k-LRP", "label_kept": "decision kept", "spearman": "Spearman's correlation of heatmaps",
    # decisions
    "right": "accuracy under attack", "clean_right": "clean accuracy", "correct": "clean accuracy",
    "accuracy": "clean accuracy", "attacked_accuracy": "accuracy under attack", "robustness": "softmax robustness",
    "softmax_robustness_twice": "softmax robustness, as released", "saturated": "probabilities that round to 1",
    "size_linf": "ℓ∞ size of the attack", "size_l2": "ℓ2 size of the attack",
    "zero_gradients": "gradients that are zero", "passed": "check passed",
    # means over draws
    "averaged": "draws averaged", "agreement": "cosine between draws",
    "expected_l2": "ℓ2 norm of the mean over draws", "expected_linf": "largest component of the mean over draws",
    "expected_mean_abs": "mean size of the components of the mean over draws",
    "expected_share": "share of the square of the mean over draws",
    "single_l2": "ℓ2 norm of single draws", "single_linf": "largest component of single draws",
    "single_mean_abs": "mean size of the components of single draws",
    "single_share": "share of a single draw's square",
    "remaining": "share of the square of single draws that the expectation keeps",
    "silent": "share of single draws that are exactly zero",
    "zero_components": "components of the mean over draws that are exactly zero",
    # boundaries
    "found": "boundary point found", "distance": "ℓ2 distance", "distance_linf": "ℓ∞ distance",
    "gap": "gap of the decision at the boundary point", "gradients": "gradients computed",
    "completeness": "error of completeness", "end_gap": "gap of the decision at the end of the path",
    "end_decides": "decision changed at the end of the path", "localisation": "Loc.",
    "points_at_brighter": "points at the brighter item", "decisive": "decision changes without the item pointed at",
    "beyond_chance": "changes of the decision beyond chance",
    "changes_without_brighter": "decision changes without the brighter item",
    "changes_without_other": "decision changes without the other item",
    "u": "credit of u", "v": "credit of v", "imbalance": "credit of u minus that of v",
    # what draws say of themselves
    "kept": "draws", "distinct": "distinct draws", "acceptance": "share accepted",
    "rms_energy_error": "RMS energy error", "e_bfmi": "E-BFMI", "nll": "negative log-likelihood",
    "ece": "expected calibration error", "robustness_mcse": "MCSE of k-LRP of the mean map",
}  # fmt: skip
_IN_TABLES = {
    ("norms", "right"): "clean accuracy",
    ("posteriors", "robustness"): "k-LRP of the mean map",
}  # where the same name means something else


def column_title(name: str, table: str = "") -> str:
    r"""What a reader calls a column, for all tables or in one of them.

    >>> column_title("k_lrp"), column_title("softmax_robustness")
    ('k-LRP', 'softmax robustness')
    >>> column_title("right"), column_title("right", "norms")
    ('accuracy under attack', 'clean accuracy')
    >>> column_title("log_probability_rhat_90")
    'R-hat of the log probability, 90\u202f%'
    """
    return _IN_TABLES.get((table, name)) or _NAMES.get(name) or _of_chains(name) or name.replace("_", " ")


def _of_chains(name: str) -> str:
    """Of a diagnostic of chains at a share of the functions, such as `relevance_rhat_90`; empty for others."""
    for part, title in (("_rhat_", "R-hat"), ("_ess_", "ESS")):
        family, found, share = name.partition(part)
        if found:
            return f"{title} of the {family.replace('_', ' ')}, {share}{THIN}%"
    return ""
