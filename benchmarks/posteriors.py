"""Posteriors: what the inference methods reach on the real test images."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import describe, entry, interleave, ratio
from holdfast import data, inference, networks
from holdfast.banks import Bank
from holdfast.data import Dataset
from holdfast.ensemble import Ensemble, skeleton
from holdfast.inference.seeds import member_seeds, stream
from holdfast.inference.training import cross_entropy, initial_weights, member_logits, train

# chosen on the last 10,000 training images of MNIST, after a fit to the others: deviations that move as slowly as the
# means left fewer units unused than three times faster ones (97.3 % against 97.0 %)
STANDARDISED = inference.Training(epochs=16, learning_rate=1e-3, precision="bfloat16")
START = inference.Start(deviation_rate=2.0)
TARGETS = {"fashion-mnist": (0.88, 0.85), "mnist": (0.98, 0.973)}  # accuracy of sgd, of mean_field with 100 draws


def run() -> list[dict[str, Any]]:
    """Train `fc2` 512 on all 60,000 images, by `sgd` and by `mean_field`, and test on the 10,000 test images."""
    return [reading(), members(), *(found for name in TARGETS for found in measure(name))]


def reading(draws: int = 100, rounds: int = 5) -> dict[str, Any]:
    """Milliseconds to read and check one draw of a bank of `fc2` 512, in random order, from the page cache."""
    network = networks.fc2((1, 28, 28), 10, width=512)
    ensemble = inference.prior_draws(network, data.load("fashion-mini").train, seed=0, draws=draws)
    order = torch.randperm(draws, generator=torch.Generator().manual_seed(0)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        path = ensemble.save(Path(folder) / "bank.safetensors")
        size = path.stat().st_size
        bank = Bank.open(path, network)
        seconds = interleave({"draw": lambda: [bank[i] for i in order]}, rounds)["draw"]
        begin = time.perf_counter()
        Bank.open(path, network)
        opening = time.perf_counter() - begin
    milliseconds = 1000 * statistics.median(seconds) / draws
    detail = f"{draws} draws, {size / 2**20:.0f} MiB, checksum of each draw compared; opening {1000 * opening:.0f} ms"
    return entry("bank of fc2 512: ms to read one draw", milliseconds, 5.0, "at_most", detail)


def members(count: int = 20, images: int = 1280, rounds: int = 3) -> dict[str, Any]:
    """One epoch of a deep ensemble of `conv` 32 on a CPU: as one stack, over one member after the other as it is.

    After `machine.tune`, as all benchmarks; without it freed memory goes back to the system, and the stack takes twice
    as long.
    """
    network = networks.conv((1, 28, 28), 10, width=32)
    split = data.load("fashion-mini").train[:images]
    epoch, seeds = inference.Training(epochs=1), member_seeds(0, count)

    def as_one_stack() -> None:
        parameters, buffers = initial_weights(network, seeds, split)
        tensors = [p.requires_grad_() for p in parameters.values()]
        shell = skeleton(network)
        loss = lambda x, y: cross_entropy(member_logits(shell, {**parameters, **buffers}, x), y)
        train("benchmark", [(tensors, 1.0)], loss, split, epoch, [stream(s, "order") for s in seeds])

    ours = lambda: inference.deep_ensemble(network, split, seed=0, members=count, training=epoch)
    seconds = interleave({"stack": as_one_stack, "alone": ours}, rounds)
    detail = f"{count} members, {images:,} images; {describe(seconds)}"
    share = ratio(seconds, "stack", "alone")
    return entry("deep ensemble of conv 32: as one stack, over ours", share, 1, "at_least", detail)


def measure(name: str) -> list[dict[str, Any]]:
    """The accuracies on one data set."""
    dataset = data.load(name, download=False)
    return [deterministic(name, dataset), variational(name, dataset)]


def deterministic(name: str, dataset: Dataset) -> dict[str, Any]:
    """One network by `sgd`."""
    network = networks.fc2(dataset.shape, len(dataset.classes), width=512)
    ensemble = inference.sgd(network, dataset.train, seed=0)
    return _entry(f"{name}: fc2 512 by sgd, accuracy", ensemble, dataset, TARGETS[name][0])


def variational(name: str, dataset: Dataset) -> dict[str, Any]:
    """The mean-field posterior of a network that standardises its inputs."""
    x = dataset.train.images
    network = networks.fc2(dataset.shape, len(dataset.classes), width=512)
    network = networks.normalised(network, float(x.mean()), float(x.std()))
    begin = time.process_time()
    ensemble = inference.mean_field(network, dataset.train, seed=0, draws=100, training=STANDARDISED, start=START)
    seconds = time.process_time() - begin
    return _entry(f"{name}: fc2 512 by mean_field, accuracy", ensemble, dataset, TARGETS[name][1], seconds)


def _entry(
    name: str, ensemble: Ensemble, dataset: Dataset, bound: float, seconds: float | None = None
) -> dict[str, Any]:
    test = dataset.test
    right = float((ensemble.predict(test.images) == test.labels).double().mean())
    settings, summary = ensemble.diagnostics.settings, ensemble.diagnostics.summary
    detail = f"{len(ensemble)} draws on the log predictive, {settings['epochs']} epochs"
    if "elbo_per_image" in summary:
        detail += f", T = {settings['temperature']:g}, ELBO {summary['elbo_per_image']:.3f} nats per image"
        ratios = {k: v for k, v in summary["deviation_over_prior"].items() if k.endswith("weight")}
        detail += "; posterior over prior deviation " + ", ".join(f"{k} {v:.2f}" for k, v in ratios.items())
    if seconds is not None:
        detail += f"; {seconds:.0f} CPU seconds"
    return entry(name, right, bound, "at_least", detail)
