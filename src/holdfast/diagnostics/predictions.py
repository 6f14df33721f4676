"""Predictions: how good the Bayesian model average is, with the Monte Carlo error of having few draws.

The scores are smooth functions of the mean over draws of p(c | x, w). To first order, the error of such a score f(p) is
that of the mean over draws of its linear part, g_s = sum_c df/dp_c p_s(c) (the delta method), whose Monte Carlo
standard error `arviz-stats` gives:

    nll       g_s = -1/B sum_i p_s(y_i | x_i) / p(y_i | x_i)
    Brier     g_s = 2/B sum_i sum_c (p(c | x_i) - [c = y_i]) p_s(c | x_i)
    entropy   g_s = -1/B sum_i sum_c log p(c | x_i) p_s(c | x_i)

Accuracy and calibration error are not smooth; they are given without an error.
"""

import math

import torch
from torch import Tensor

from holdfast import scores
from holdfast.diagnostics.chains import by_chain
from holdfast.diagnostics.mixing import mean_and_error
from holdfast.ensemble import log_predictive


def predictive_figures(logits: Tensor, labels: Tensor, chains: int | None) -> dict[str, float]:
    """Accuracy, nll, Brier score, calibration error and entropy of the model average, with Monte Carlo errors.

    Args:
        logits: of every draw, `[S, B, C]`.
        labels: true classes `[B]`.
        chains: how many chains the draws belong to; None for independent draws.

    >>> found = predictive_figures(torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]]), torch.tensor([1]), None)
    >>> round(found["nll"], 3), found["accuracy"]
    (0.693, 0.0)
    """
    each = logits.double().log_softmax(-1)
    log_p = log_predictive(each)
    true = torch.zeros_like(log_p).scatter_(-1, labels[:, None], 1.0)
    slopes = {
        "nll": -true * torch.exp(-log_p.clamp(min=-700)),
        "brier": 2 * (log_p.exp() - true),
        "entropy": -log_p.clamp(min=-700),
    }
    figures = {
        "accuracy": (log_p.argmax(-1) == labels).double().mean().item(),
        "nll": scores.nll(log_p, labels).mean().item(),
        "brier": scores.brier(log_p, labels).mean().item(),
        "ece": scores.expected_calibration_error(log_p, labels).item(),
        "entropy": scores.entropy(log_p).mean().item(),
    }
    p = each.exp()
    for name, slope in slopes.items():
        linear = torch.einsum("sbc,bc->s", p, slope) / len(labels)
        figures[f"{name}_mcse"] = mean_and_error(linear, chains)[1]
    return figures


def agreement_between_chains(logits: Tensor, chains: int | None) -> dict[str, float]:
    """How alike the model averages of the chains are: mean and worst pair; NaN for fewer than two chains.

    Args:
        logits: of every draw, `[S, B, C]`.
        chains: how many chains the draws belong to; None for independent draws.

    Returns:
        `agreement`, the share of images with the same class, and `total_variation`, over all pairs of chains.
    """
    names = ("agreement", "agreement_worst", "total_variation", "total_variation_worst")
    if chains is None or chains < 2:
        return dict.fromkeys(names, math.nan)
    averages = [log_predictive(own.double()) for own in by_chain(logits, chains)]
    pairs = [(averages[i], averages[j]) for i in range(chains) for j in range(i)]
    alike = [scores.label_preserved(a, b).double().mean().item() for a, b in pairs]
    apart = [scores.total_variation(a, b).mean().item() for a, b in pairs]
    values = (sum(alike) / len(pairs), min(alike), sum(apart) / len(pairs), max(apart))
    return dict(zip(names, values, strict=True))


def agreement_with(log_p: Tensor, reference: Tensor) -> dict[str, float]:
    """Share of images that two predictions `[B, C]` give the same class, and their mean total variation.

    >>> agreement_with(torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.6, 0.4]]).log())["agreement"]
    1.0
    """
    return {
        "agreement": scores.label_preserved(log_p, reference).double().mean().item(),
        "total_variation": scores.total_variation(log_p, reference).mean().item(),
    }
