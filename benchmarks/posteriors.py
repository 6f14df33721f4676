"""Posteriors: what the inference methods reach on the real test images, with their default settings."""

from typing import Any

from benchmarks.measure import entry
from holdfast import data, inference, networks
from holdfast.data import Dataset
from holdfast.ensemble import Ensemble

TARGETS = {"fashion-mnist": (0.88, 0.85), "mnist": (0.98, 0.95)}  # accuracy of sgd, of mean_field with 100 draws


def run() -> list[dict[str, Any]]:
    """Train `fc2` 512 on all 60,000 images, by `sgd` and by `mean_field`, and test on the 10,000 test images."""
    entries = []
    for name, (deterministic, variational) in TARGETS.items():
        dataset = data.load(name, download=False)
        network = networks.fc2(dataset.shape, len(dataset.classes), width=512)
        ensemble = inference.sgd(network, dataset.train, seed=0)
        entries.append(_entry(f"{name}: fc2 512 by sgd, accuracy", ensemble, dataset, deterministic))
        ensemble = inference.mean_field(network, dataset.train, seed=0, draws=100)
        entries.append(_entry(f"{name}: fc2 512 by mean_field, accuracy", ensemble, dataset, variational))
    return entries


def _entry(name: str, ensemble: Ensemble, dataset: Dataset, bound: float) -> dict[str, Any]:
    test = dataset.test
    right = float((ensemble.predict(test.images) == test.labels).double().mean())
    settings, summary = ensemble.diagnostics.settings, ensemble.diagnostics.summary
    detail = f"{len(ensemble)} draws on the log predictive, {settings['epochs']} epochs"
    if "elbo_per_image" in summary:
        detail += f", T = {settings['temperature']:g}, ELBO {summary['elbo_per_image']:.3f} nats per image"
    return entry(name, right, bound, "at_least", detail)
