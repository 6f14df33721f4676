"""What an ensemble predicts on all test images, and on shifted ones: the same figures for every method."""

from typing import Any

import torch
from torch import Tensor

from holdfast.data import Dataset
from holdfast.diagnostics.predictions import predictive_figures
from holdfast.diagnostics.shifts import blurred, noisy, rotated
from holdfast.ensemble import Ensemble

SHIFTS = {"rotated": rotated, "noisy": noisy, "blurred": blurred}


def predicted(ensemble: Ensemble, dataset: Dataset) -> dict[str, Any]:
    """Accuracy, negative log likelihood, Brier score, calibration error and entropy; entropy under each shift."""
    labels = dataset.test.labels
    found = predictive_figures(_logits(ensemble, dataset.test.images), labels, None)
    for name, shift in SHIFTS.items():
        found[name] = predictive_figures(_logits(ensemble, shift(dataset.test.images)), labels, None)["entropy"]
    return found


def _logits(ensemble: Ensemble, images: Tensor) -> Tensor:
    return torch.cat([ensemble[s].logits(images) for s in range(len(ensemble))])
