"""Calibration: how good predicted probabilities are, given the true labels.

    nll      -log p(y | x)
    brier    sum_c (p(c | x) - [c = y])^2                                  Brier 1950
    entropy  -sum_c p(c | x) log p(c | x)
    ECE      sum over bins of n_b / n |accuracy_b - mean confidence_b|     Naeini et al. 2015; Guo et al. 2017

All take log predictive probabilities of the Bayesian model average. nll and Brier score are proper: in expectation the
true probabilities minimise them. ECE is not, and with few images it is biased upwards.
"""

import torch
from torch import Tensor

from holdfast.checks import check_labels, check_range
from holdfast.scores.pairs import check_predictions


def nll(log_p: Tensor, labels: Tensor) -> Tensor:
    """Negative log likelihood of each image.

    Args:
        log_p: log predictive probabilities `[..., B, C]`.
        labels: true classes `[B]`.

    Returns:
        Values `[..., B]` in nats, at least 0.

    >>> nll(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([1]))
    tensor([0.6931])
    """
    _check("nll", log_p, labels)
    return -log_p.gather(-1, _index(log_p, labels))[..., 0]


def brier(log_p: Tensor, labels: Tensor) -> Tensor:
    """Brier score of each image; arguments as in `nll`.

    Returns:
        Values `[..., B]` in [0, 2].

    >>> brier(torch.tensor([[0.8, 0.2]]).log(), torch.tensor([0]))
    tensor([0.0800])
    """
    _check("brier", log_p, labels)
    p = log_p.exp()
    true = torch.zeros_like(p).scatter_(-1, _index(log_p, labels), 1.0)
    return (p - true).square().sum(-1)


def entropy(log_p: Tensor) -> Tensor:
    """Predictive entropy of each image.

    Args:
        log_p: log predictive probabilities `[..., B, C]`; a probability of 0 counts nothing.

    Returns:
        Values `[..., B]` in nats, from 0 to log C.

    >>> entropy(torch.tensor([[0.5, 0.5]]).log())
    tensor([0.6931])
    """
    check_predictions("entropy", log_p, log_p)
    return -torch.where(log_p == -torch.inf, 0.0, log_p.exp() * log_p).sum(-1)


def expected_calibration_error(log_p: Tensor, labels: Tensor, *, bins: int = 15) -> Tensor:
    """Expected calibration error over all images.

    Args:
        log_p: log predictive probabilities `[..., B, C]`.
        labels: true classes `[B]`.
        bins: how many intervals of equal length (0, 1] is cut into; a confidence on a border belongs to the lower one.

    Returns:
        Values `[...]` in [0, 1].

    >>> p = torch.tensor([[0.8, 0.2], [0.8, 0.2]])
    >>> expected_calibration_error(p.log(), torch.tensor([0, 1]))
    tensor(0.3000)
    """
    _check("expected_calibration_error", log_p, labels)
    check_range("expected_calibration_error", "bins", bins, 1, 10_000)
    largest, predicted = log_p.max(-1)
    confidence = largest.exp().double()
    gap = (predicted == labels).double() - confidence
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    sums = torch.zeros(*gap.shape[:-1], bins, dtype=gap.dtype, device=gap.device).scatter_add_(-1, place, gap)
    return (sums.abs().sum(-1) / gap.shape[-1]).to(log_p.dtype)


def _index(log_p: Tensor, labels: Tensor) -> Tensor:
    return labels.expand(log_p.shape[:-1])[..., None]


def _check(call: str, log_p: Tensor, labels: Tensor) -> None:
    check_predictions(call, log_p, log_p)
    check_labels(call, labels, log_p.shape[-2], log_p.shape[-1])
