"""Calibration and total variation against slow rewrites, closed forms and scikit-free definitions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.scores import brier, entropy, expected_calibration_error, nll, total_variation


def predictions(seed=0, images=200, classes=4, draws=2):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(draws, images, classes, generator=generator, dtype=torch.float64)
    return logits.log_softmax(-1), torch.randint(classes, (images,), generator=generator)


def slow_ece(p, labels, bins):
    total = 0.0
    for b in range(bins):
        members = [i for i, row in enumerate(p) if b / bins < max(row) <= (b + 1) / bins]
        if members:
            right = sum(p[i].index(max(p[i])) == labels[i] for i in members) / len(members)
            confidence = sum(max(p[i]) for i in members) / len(members)
            total += len(members) / len(p) * abs(right - confidence)
    return total


def test_against_slow_rewrites():
    log_p, labels = predictions()
    p = log_p.exp()
    for s in range(2):
        for i in range(0, 200, 17):
            row, y = p[s, i].tolist(), int(labels[i])
            assert math.isclose(float(nll(log_p, labels)[s, i]), -math.log(row[y]))
            assert math.isclose(float(brier(log_p, labels)[s, i]), sum((q - (c == y)) ** 2 for c, q in enumerate(row)))
            assert math.isclose(float(entropy(log_p)[s, i]), -sum(q * math.log(q) for q in row))
            other = p[1 - s, i].tolist()
            distance = sum(max(a - b, 0) for a, b in zip(row, other, strict=True))
            assert math.isclose(float(total_variation(log_p, log_p.flip(0))[s, i]), distance)
        for bins in (1, 7, 15):
            expected = slow_ece(p[s].tolist(), labels.tolist(), bins)
            assert math.isclose(float(expected_calibration_error(log_p, labels, bins=bins)[s]), expected)


def test_predictions_that_are_certain():
    log_p = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
    labels = torch.tensor([0, 0])
    assert nll(log_p, labels).tolist() == [0.0, torch.inf]
    assert brier(log_p, labels).tolist() == [0.0, 2.0]
    assert entropy(log_p).tolist() == [0.0, 0.0]
    assert float(expected_calibration_error(log_p, labels)) == 0.5
    assert total_variation(log_p, log_p.flip(0)).tolist() == [1.0, 1.0]


def test_a_confidence_on_a_border_belongs_to_the_lower_bin():
    log_p = torch.tensor([[0.5, 0.25, 0.25], [0.4, 0.3, 0.3]], dtype=torch.float64).log()
    assert float(expected_calibration_error(log_p, torch.tensor([0, 1]), bins=2)) == pytest.approx(0.05)


def test_the_truth_is_the_best_prediction_and_is_calibrated():
    generator = torch.Generator().manual_seed(0)
    log_p = torch.randn(20000, 3, generator=generator, dtype=torch.float64).log_softmax(-1)
    labels = torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0]
    assert float(expected_calibration_error(log_p, labels)) < 0.01
    for sharper in (0.7, 1.4):
        wrong = (sharper * log_p).log_softmax(-1)
        assert nll(wrong, labels).mean() > nll(log_p, labels).mean()
        assert brier(wrong, labels).mean() > brier(log_p, labels).mean()
        assert float(expected_calibration_error(wrong, labels)) > 0.03


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_ranges_and_pinsker(seed):
    log_p, labels = predictions(seed, images=20)
    a, b = log_p
    assert bool((nll(a, labels) >= 0).all())
    assert bool(((brier(a, labels) >= 0) & (brier(a, labels) <= 2)).all())
    assert bool(((entropy(a) >= 0) & (entropy(a) <= math.log(4) + 1e-12)).all())
    divergence = (a.exp() * (a - b)).sum(-1)
    assert bool((total_variation(a, b) <= (divergence / 2).sqrt() + 1e-12).all())
    assert torch.equal(total_variation(a, b), total_variation(b, a))


def test_errors():
    log_p, labels = predictions()
    with pytest.raises(ValueError, match=r"nll: clean must hold log probabilities that sum to one"):
        nll(log_p.exp(), labels)
    with pytest.raises(ValueError, match=r"brier: expected 200 labels"):
        brier(log_p, labels[:3])
    with pytest.raises(ValueError, match=r"labels must lie in 0..3"):
        expected_calibration_error(log_p, labels + 1)
    with pytest.raises(ValueError, match=r"bins must lie in \[1, 10000\]"):
        expected_calibration_error(log_p, labels, bins=0)
