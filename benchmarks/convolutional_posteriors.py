"""`python -m benchmarks.convolutional_posteriors [ROW ...]`: posteriors of convolutional networks, on minutes of CPU.

A reduced protocol, stated in each row: on CIFAR-10, ResNet-20 by a deep ensemble trained from scratch, and by SWAG and
mean-field variational inference that start at a published checkpoint; on Fashion-MNIST, the `conv` network by
mean-field. No augmentation, temperature 1, products in bfloat16. A quarter of an hour of CPU in all, so it is no family
of `python -m benchmarks`. Rows already in `results/convolutional_posteriors.json` under the same settings are kept, and
finished members of the deep ensemble, in `runs/convolutional_posteriors`, are read back.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch

from benchmarks.__main__ import RESULTS, show, write
from benchmarks.measure import ROOT, entry
from holdfast import data, inference, machine, networks
from holdfast.data import Dataset, Split
from holdfast.ensemble import Ensemble, log_predictive
from holdfast.inference import Start, Training
from holdfast.inference.seeds import member_seeds

FAMILY = "convolutional_posteriors"
KEPT = ROOT / "runs" / FAMILY
DRAWS, MEMBERS, TESTED = 20, 3, 1000
CHECKPOINT = "cifar-resnet20"
ENSEMBLE = Training(epochs=1, batch_size=32, learning_rate=3e-3, precision="bfloat16")
SEEN = 15_000  # images, by each member
COLLECTION = Training(
    epochs=5, learning_rate=0.02, optimiser="sgd", schedule="constant", weight_decay=5e-4, precision="bfloat16"
)
COLLECTED, COLLECTED_DRAWS = 5_000, 10  # images, draws
RESNET = Training(epochs=1, batch_size=64, learning_rate=2e-3, precision="bfloat16")
START = Start(deviation_rate=12.0)  # fast enough to reach the prior in one epoch
CONV_IMAGES, CONV_WIDTH = 10_000, 32
CONV = replace(inference.mean_field_training(CONV_IMAGES, epochs=8), precision="bfloat16")


def published() -> tuple[Ensemble, Dataset]:
    """The published checkpoint as it is: where SWAG and mean-field start."""
    return _checkpoint(), _cifar()


def deep_ensemble() -> tuple[Ensemble, Dataset]:
    """Members trained one by one from scratch, which are those of `inference.deep_ensemble`; each is kept."""
    dataset = _cifar()
    network = networks.normalised(networks.resnet(dataset.shape, 10), *_moments(dataset.train[:SEEN]))
    members = []
    for seed in member_seeds(0, MEMBERS):
        path = KEPT / f"resnet20-{SEEN}-{ENSEMBLE.epochs}-{ENSEMBLE.batch_size}-{seed}.safetensors"
        if not path.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            inference.sgd(network, dataset.train[:SEEN], seed=seed, training=ENSEMBLE).save(path)
        members.append(Ensemble.load(path, network))
    weights = {k: torch.cat([m.weights[k] for m in members]) for k in members[0].weights}
    return Ensemble(members[0].network, weights, members[0].diagnostics), dataset


def swag() -> tuple[Ensemble, Dataset]:
    """Weights collected from the checkpoint on; the batch statistics of every draw are its own."""
    dataset, start = _cifar(), _checkpoint()
    train = dataset.train[:COLLECTED]
    found = inference.swag(
        start.network, train, seed=0, draws=COLLECTED_DRAWS, rank=5, collection=COLLECTION, initial=start
    )
    return found, dataset


def mean_field() -> tuple[Ensemble, Dataset]:
    """All 50,000 images, means from the checkpoint; scales and biases of batch normalisation are point estimates."""
    dataset, start = _cifar(), _checkpoint()
    posterior = inference.fit_mean_field(
        start.network, dataset.train, seed=0, training=RESNET, start=START, initial=start
    )
    return posterior.sample(DRAWS, seed=0, data=dataset.train), dataset


def conv_mean_field() -> tuple[Ensemble, Dataset]:
    """The papers' convolutional network on the first 10,000 training images of Fashion-MNIST."""
    dataset = data.load("fashion-mnist", download=False)
    train = dataset.train[:CONV_IMAGES]
    network = networks.conv(dataset.shape, 10, width=CONV_WIDTH)
    return inference.mean_field(network, train, seed=0, draws=DRAWS, training=CONV), dataset


# row: name, lower bound of the accuracy, function, settings that its result depends on beside the code
ROWS: dict[str, tuple[str, float, Callable[[], tuple[Ensemble, Dataset]], dict[str, Any]]] = {
    "published": ("cifar-10: ResNet-20, the published checkpoint, accuracy", 0.90, published, {}),
    "swag": (
        "cifar-10: ResNet-20 by swag, accuracy", 0.905, swag,  # a point below its start
        {"draws": COLLECTED_DRAWS, "images": COLLECTED, "collection": asdict(COLLECTION)},
    ),
    "mean_field": (
        "cifar-10: ResNet-20 by mean_field, accuracy", 0.895, mean_field,  # two points below its start
        {"draws": DRAWS, "training": asdict(RESNET), "start": asdict(START)},
    ),
    "deep_ensemble": (
        "cifar-10: ResNet-20 by deep_ensemble, accuracy", 0.55, deep_ensemble,  # of one epoch
        {"members": MEMBERS, "images": SEEN, "training": asdict(ENSEMBLE)},
    ),
    "conv_mean_field": (
        "fashion-mnist: conv 32 by mean_field, accuracy", 0.80, conv_mean_field,
        {"draws": DRAWS, "images": CONV_IMAGES, "width": CONV_WIDTH, "training": asdict(CONV)},
    ),
}  # fmt: skip


def measure(row: str) -> dict[str, Any]:
    """Run one row: its entry, with all figures and settings in it."""
    ensemble, dataset = ROWS[row][2]()
    return as_entry(row, figures(ensemble, dataset.test[:TESTED]), ROWS[row][3])


def as_entry(row: str, found: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What the table says of the figures of a row."""
    name, bound, *_ = ROWS[row]
    detail = f"first {TESTED} test images, {found['draws']} draws; "
    detail += f"NLL {found['nll']:.3f}, one draw {found['one_draw']:.3f}"
    if "images" in settings:
        detail += f"; {settings['images']:,} training images"
    if "training" in settings:
        epochs = settings["training"]["epochs"]
        detail += f"; {epochs} epoch{'s' if epochs > 1 else ''}"
    if "start" in settings:
        detail += " from the checkpoint"
    if "divergence_per_image" in found:
        detail += (
            f"; T = 1, KL of {found['random_weights']:,} weights {found['divergence_per_image']:.3f} nats per image"
        )
    if "elbo_per_image" in found:
        detail += f", ELBO {found['elbo_per_image']:.3f} (mean of the last epoch)"
    detail += "".join(f"; {warning}" for warning in found["warnings"])
    return entry(name, found["accuracy"], bound, "at_least", detail) | {"figures": found, "settings": settings}


def figures(ensemble: Ensemble, test: Split) -> dict[str, Any]:
    """Accuracy and NLL of the average in log space, accuracy of one draw, and what the method reported."""
    logits = torch.cat([ensemble[s].logits(test.images) for s in range(len(ensemble))])
    log_probabilities = log_predictive(logits)
    right = lambda predicted: float((predicted == test.labels).double().mean())
    found = {
        "accuracy": right(log_probabilities.argmax(-1)),
        "nll": float(-log_probabilities.gather(1, test.labels[:, None]).mean()),
        "one_draw": right(logits.argmax(-1)),
        "draws": len(ensemble),
    }
    summary = ensemble.diagnostics.summary if ensemble.diagnostics else {}
    if ratios := summary.get("deviation_over_prior"):
        found["random_weights"] = sum(ensemble.weights[k][0].numel() for k in ratios)
    warnings = list(ensemble.diagnostics.warnings) if ensemble.diagnostics else []
    return found | dict(summary) | {"warnings": warnings}


def main(arguments: list[str] | None = None) -> int:
    """Run the rows named, or all that are not there yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convolutional_posteriors", description=__doc__)
    parser.add_argument("row", nargs="*", help=f"which rows to run: {', '.join(ROWS)} (default: all)")
    chosen = parser.parse_args(arguments).row or list(ROWS)
    if unknown := sorted(set(chosen).difference(ROWS)):
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    print("machine:", ", ".join(f"{name} {value}" for name, value in machine.tune().items()))
    for row in chosen:
        name, _, _, settings = ROWS[row]
        if _done().get(name, {}).get("settings") != settings:
            found = measure(row)
            done = _done() | {name: found}  # read again: another process may have finished a row meanwhile
            write(FAMILY, _table(done))
    write(FAMILY, _table(_done()))  # what is said of the figures may have changed
    show(FAMILY, list(_done().values()))
    return 0


def _done() -> dict[str, dict[str, Any]]:
    """The rows that were written, by name."""
    path = RESULTS / f"{FAMILY}.json"
    return {e["name"]: e for e in json.loads(path.read_text(encoding="utf-8"))} if path.exists() else {}


def _table(done: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of all rows that are done, in their order."""
    named = {row: done[name] for row, (name, *_) in ROWS.items() if name in done}
    return [as_entry(row, e["figures"], e["settings"]) for row, e in named.items()]


def _cifar() -> Dataset:
    dataset = data.load("cifar-10", download=False)
    train = dataset.train
    images = train.images.contiguous(memory_format=torch.channels_last)  # a quarter less time in bfloat16 convolutions
    return Dataset(dataset.name, Split(images, train.labels), dataset.test, dataset.classes, dataset.checksum)


def _checkpoint() -> Ensemble:
    return Ensemble.from_networks(networks.load_published(CHECKPOINT))


def _moments(split: Split) -> tuple[list[float], list[float]]:
    axes = (0, 2, 3)
    return split.images.mean(axes).tolist(), split.images.std(axes).tolist()


if __name__ == "__main__":
    sys.exit(main())
