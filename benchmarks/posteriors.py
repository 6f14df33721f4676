"""Posteriors: what the inference methods reach on the real test images."""

from typing import Any

from benchmarks.measure import entry
from holdfast import data, inference, networks
from holdfast.data import Dataset
from holdfast.ensemble import Ensemble

STANDARDISED = inference.Training(epochs=12, learning_rate=1e-3)  # converges with standardised inputs
TARGETS = {"fashion-mnist": (0.88, 0.85), "mnist": (0.98, 0.95)}  # accuracy of sgd, of mean_field with 100 draws


def run() -> list[dict[str, Any]]:
    """Train `fc2` 512 on all 60,000 images, by `sgd` and by `mean_field`, and test on the 10,000 test images."""
    return [found for name in TARGETS for found in measure(name)]


def measure(name: str) -> list[dict[str, Any]]:
    """The accuracies on one data set. The posterior is over a network that standardises its inputs."""
    dataset = data.load(name, download=False)
    deterministic, variational = TARGETS[name]
    network = networks.fc2(dataset.shape, len(dataset.classes), width=512)
    ensemble = inference.sgd(network, dataset.train, seed=0)
    entries = [_entry(f"{name}: fc2 512 by sgd, accuracy", ensemble, dataset, deterministic)]
    x = dataset.train.images
    network = networks.normalised(network, float(x.mean()), float(x.std()))
    ensemble = inference.mean_field(network, dataset.train, seed=0, draws=100, training=STANDARDISED)
    return [*entries, _entry(f"{name}: fc2 512 by mean_field, accuracy", ensemble, dataset, variational)]


def _entry(name: str, ensemble: Ensemble, dataset: Dataset, bound: float) -> dict[str, Any]:
    test = dataset.test
    right = float((ensemble.predict(test.images) == test.labels).double().mean())
    settings, summary = ensemble.diagnostics.settings, ensemble.diagnostics.summary
    detail = f"{len(ensemble)} draws on the log predictive, {settings['epochs']} epochs"
    if "elbo_per_image" in summary:
        detail += f", T = {settings['temperature']:g}, ELBO {summary['elbo_per_image']:.3f} nats per image"
    return entry(name, right, bound, "at_least", detail)
