"""Train the small networks that come with the package: `placed` and Tiny ImageNet-20, standard and robust in l2.

    python scripts/train_networks.py [placed-standard] [placed-robust] [tiny-standard] [tiny-robust]

Four to twelve minutes of one core each. Training goes in legs, each on images of its own: `placed` makes new ones,
those of Tiny ImageNet-20 (`HOLDFAST_DATA`) are mirrored and shifted anew. Every leg is kept in `--legs`, so a run that
was stopped goes on where it was; a robust network begins with the standard one. Writes one safetensors file each, whose
header holds the record: the legs with all their settings, the loss of each epoch, the accuracy on the test images of
the data set, and on the first 200 of them under PGD (l2, the radius of the training, 20 steps).
"""

import argparse
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import torch

from holdfast import attacks, data, inference
from holdfast.budget import Budget
from holdfast.data import Dataset, Split
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.inference import Training
from holdfast.networks.trained import FOLDER, TRAINED

RADII = {"placed": 0.5, "tiny-imagenet": 1.0}  # of the attacks in training and on the test images
PLACED_IMAGES = 16_000  # of one leg
SHIFT = 6  # pixels


@dataclass(frozen=True)
class Leg:
    """A part of a training: how long, and how far the images are attacked (0: not at all)."""

    training: Training
    radius: float = 0.0


def annealed(legs: int, epochs: int, rate: float, radius: float = 0.0) -> tuple[Leg, ...]:
    """Legs by momentum, whose learning rates fall along half a cosine and, of robust ones, whose radii rise first."""
    made = []
    for k in range(legs):
        here = rate * (1 + math.cos(math.pi * k / legs)) / 2
        training = Training(epochs, 128, here, "sgd", "constant", weight_decay=5e-4, precision="bfloat16")
        made.append(Leg(training, radius * min(1.0, (k + 1) / 3)))
    return tuple(made)


LEGS = {
    "placed-standard": (Leg(Training(epochs=9, learning_rate=3e-3, weight_decay=2e-4)),),
    "placed-robust": annealed(14, 1, 0.05, radius=RADII["placed"]),
    "tiny-standard": (*annealed(18, 2, 0.1)[:3], *annealed(4, 2, 0.05)),  # a long schedule, cut short
    "tiny-robust": annealed(3, 1, 0.03, radius=RADII["tiny-imagenet"]),
}
STEPS = 2  # of the attack while training


def train(name: str, legs_folder: Path) -> Ensemble:
    """One network, with its record."""
    entry, dataset = TRAINED[name], _dataset(TRAINED[name].data)
    network = entry.build()
    if entry.begins_with is None:
        ensemble = None
    else:
        ensemble = Ensemble.load(FOLDER / f"{entry.begins_with}.safetensors", network)
    losses: list[float] = []
    for number, leg in enumerate(LEGS[name]):
        path = legs_folder / f"{name}-{number}-{_digest(name, number)}.safetensors"
        if not path.exists():
            given = dict(seed=number, training=leg.training, initial=ensemble)
            if leg.radius:
                method, given = inference.adversarial, given | dict(budget=Budget("l2", leg.radius), steps=STEPS)
            else:
                method = inference.sgd
            method(network, IMAGES[entry.data](dataset, number), **given).save(path)
        ensemble = Ensemble.load(path, network)
        losses += ensemble.diagnostics.history["loss"]
        right = (ensemble.predict(dataset.test.images) == dataset.test.labels).double().mean().item()
        print(f"{name}: leg {number + 1} of {len(LEGS[name])}, loss {losses[-1]:.3f}, accuracy {right:.3f}", flush=True)
    radius = RADII[entry.data]
    first = dataset.test[:200]
    attacked = attacks.pgd(ensemble, first.images, first.labels, budget=Budget("l2", radius), steps=20)
    summary = {
        "test_accuracy": right,
        f"accuracy_under_pgd_l2_{radius:g}": attacked.accuracy(first.labels)[0],
        "final_loss": losses[-1],
    }
    legs = [{"radius": leg.radius, **asdict(leg.training)} for leg in LEGS[name]]
    settings = {
        "data": dataset.checksum,
        "begins_with": entry.begins_with,
        "epochs": len(losses),
        "attack_steps": STEPS,
        "legs": legs,
    }
    return replace(ensemble, diagnostics=Diagnostics(entry.trained, settings, summary, {"loss": losses}))


@cache
def _dataset(name: str) -> Dataset:
    folder = os.environ.get("HOLDFAST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    return data.load(name) if name == "placed" else data.load(name, data_dir=folder)


def _placed(dataset: Dataset, leg: int) -> Split:
    made = data.load("placed", train=PLACED_IMAGES, test=1, seed=leg).train
    return Split(made.images, made.labels)


def _mirrored_and_shifted(dataset: Dataset, leg: int) -> Split:
    generator = torch.Generator().manual_seed(leg)
    images, side = dataset.train.images, dataset.shape[-1]
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    shifts = torch.randint(0, 2 * SHIFT + 1, (len(images), 2), generator=generator)
    moved = torch.empty_like(images)
    for row, (down, right) in enumerate(shifts.tolist()):
        image = images[row].flip(-1) if mirrored[row] else images[row]
        wide = torch.nn.functional.pad(image, (SHIFT,) * 4, mode="reflect")
        moved[row] = wide[:, down : down + side, right : right + side]
    return Split(moved, dataset.train.labels)


IMAGES: dict[str, Callable[[Dataset, int], Split]] = {"placed": _placed, "tiny-imagenet": _mirrored_and_shifted}


def _digest(name: str, number: int) -> str:
    """Changes with whatever the legs so far depend on."""
    legs = [asdict(leg) for leg in LEGS[name][: number + 1]]
    begin = TRAINED[name].begins_with
    start = (FOLDER / f"{begin}.safetensors").read_bytes() if begin else b""
    said = json.dumps([legs, STEPS, PLACED_IMAGES, SHIFT, asdict(TRAINED[name])], sort_keys=True)
    return hashlib.sha256(said.encode() + start).hexdigest()[:12]


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=list(TRAINED), help=", ".join(TRAINED))
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder to write to")
    parser.add_argument(
        "--legs", type=Path, default=Path(tempfile.gettempdir()) / "holdfast-legs", help="where legs are kept"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.legs.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        path = train(name, arguments.legs).save(arguments.to / f"{name}.safetensors")
        summary = Ensemble.load(path, TRAINED[name].build()).diagnostics.summary
        print(f"{path}: {path.stat().st_size:,} bytes; {summary}", flush=True)


if __name__ == "__main__":
    main()
