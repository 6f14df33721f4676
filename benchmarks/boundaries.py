"""Boundaries: how near `nearest_boundary` comes, beside Foolbox and the truth; what boundary attributions show.

Foolbox (`make oracles`) and CIFAR-10 (`HOLDFAST_DATA`) are left out where they are not there. Localisation is measured
on `placed`, where the pixels that make the label are known: is BIG's energy inside the mask above that of the others?
A bound of zero on the low end of a paired 95 % interval says so.
"""

import os
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import describe, entry, interleave, ratio
from holdfast import attacks, data, networks
from holdfast.ensemble import Ensemble
from holdfast.studies.boundary_attributions import METHODS, boundary_attributions

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("HOLDFAST_DATA", HERE.parents[1] / "shared" / "data"))
RADII = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of Foolbox's projected gradients
CONSTANTS, CW_STEPS, PGD_STEPS = 9, 50, 25  # 9 * 50 + 6 * 25 = 600 gradients for one image
ROUNDS = 2  # of the comparison of speed; a round of Foolbox takes minutes
DEFAULT, PATIENT = 300, 2000  # gradients of a search on a small network
FAST = 60  # gradients of the first two searches alone, for the comparison of speed


def run() -> list[dict[str, Any]]:
    """All entries of this family."""
    return [*exactness(), *against_foolbox(), *localisation()]


def exactness(images: int = 24) -> Iterator[dict[str, Any]]:
    """Largest distance found over the exact distance, on small ReLU networks with random weights."""
    for dims, hidden, depth, classes in ((2, 8, 1, 3), (3, 8, 2, 3), (6, 12, 1, 4), (10, 8, 2, 5)):
        ratios: dict[int, list[Tensor]] = {DEFAULT: [], PATIENT: []}
        for seed in range(3):
            network = _random_network(dims, hidden, depth, classes, seed)
            generator = torch.Generator().manual_seed(seed)
            x = torch.rand(images // 3, dims, generator=generator, dtype=torch.float64)
            exact, _ = attacks.exact_boundary(network, x)
            for steps, found in ratios.items():
                boundary = attacks.nearest_boundary(Ensemble.from_networks(network), x, tolerance=1e-7, steps=steps)
                found.append((boundary.distance / exact)[torch.isfinite(exact)].nan_to_num(nan=torch.inf))
        quick, patient = (torch.cat(found) for found in ratios.values())
        detail = f"{len(quick)} images, {PATIENT} gradients; with {DEFAULT}, the default, "
        detail += f"{(quick < 1.001).double().mean():.0%} of them within 0.1 %, largest {quick.max():.4f}"
        name = f"l2 distance found over exact, largest: {dims} inputs, {depth} x {hidden} units, {classes} classes"
        yield entry(name, patient.max().item(), 1.001, "at_most", detail)


def against_foolbox(images: int = 24) -> Iterator[dict[str, Any]]:
    """Median l2 distance on the CIFAR-10 ResNet-20 at the same number of gradients, and time at equal distance."""
    try:
        import foolbox
    except ImportError:
        return
    if not (DATA / "weights").is_dir():
        return
    network = networks.load_published("cifar-resnet20", DATA)
    ensemble, test = Ensemble.from_networks(network), data.load("cifar-10", data_dir=DATA).test[: 2 * images]
    right = (ensemble.predict(test.images) == test.labels).nonzero()[:images, 0]
    x, y = test.images[right], test.labels[right]
    model = foolbox.PyTorchModel(network, bounds=(0, 1))
    kept: dict[str, Tensor] = {}

    def theirs() -> None:
        cw = foolbox.attacks.L2CarliniWagnerAttack(CONSTANTS, CW_STEPS)
        _, found, ok = cw(model, x, y, epsilons=None)
        best = torch.where(ok, (found - x).flatten(1).norm(dim=1), torch.inf)
        pgd = foolbox.attacks.L2ProjectedGradientDescentAttack(rel_stepsize=2.5 / PGD_STEPS, steps=PGD_STEPS)
        _, clipped, ok = pgd(model, x, y, epsilons=list(RADII))
        for moved, success in zip(clipped, ok, strict=True):
            best = torch.minimum(best, torch.where(success, (moved - x).flatten(1).norm(dim=1), torch.inf))
        kept["theirs"] = best

    def quick() -> None:
        stages = ("minimal_norm", "closing_in")
        found = attacks.nearest_boundary(ensemble, x, y, steps=FAST, stages=stages, n_target_classes=0)
        kept["quick"] = found.distance.nan_to_num(nan=torch.inf)

    seconds = interleave({"Foolbox": theirs, "holdfast": quick}, rounds=ROUNDS, warmup=0)
    budget = CONSTANTS * CW_STEPS + len(RADII) * PGD_STEPS
    kept["ours"] = attacks.nearest_boundary(ensemble, x, y, steps=budget).distance.nan_to_num(nan=torch.inf)
    median = {name: distance.median().item() for name, distance in kept.items()}
    nearer = (kept["ours"] < kept["theirs"]).double().mean().item()
    detail = f"medians {median['ours']:.4f} and {median['theirs']:.4f}; nearer on {nearer:.0%} of {len(x)} images"
    name = f"median l2 distance over that of Foolbox (CW + PGD), {budget} gradients, CIFAR-10 ResNet-20"
    yield entry(name, median["ours"] / median["theirs"], 1.0, "at_most", detail)
    rates = ", ".join(f"{name} {len(x) / statistics.median(of):.3g}" for name, of in seconds.items())
    detail = f"searches per second: {rates}; {FAST} gradients reach a median of {median['quick']:.4f}, Foolbox's "
    detail += f"{budget} {median['theirs']:.4f}; "
    speed = ratio(seconds, "Foolbox", "holdfast") if median["quick"] <= median["theirs"] else 0.0
    name = "searches per second over Foolbox's, at a median distance no larger"
    yield entry(name, speed, 3.0, "at_least", detail + describe(seconds))


def localisation(images: int = 200) -> Iterator[dict[str, Any]]:
    """Energy inside the mask on `placed`: BIG against the others, paired over images."""
    test = data.load("placed", train=1).test[:images]
    rivals = ("IG from black", "IG from the mean", "SmoothGrad")
    methods = {name: METHODS[name] for name in ("BIG", *rivals)}
    for name in (name for name, kind in networks.TRAINED.items() if kind.data == "placed"):
        given = dict(region="masks", methods=methods, steps=150)
        study = boundary_attributions(networks.load_trained(name), test, **given)
        found = study.localised
        kept = f"{int(found.used.sum())} images, {study.boundary.summary['misclassified']} misclassified left out"
        means = found.table().query("score == 'energy_game'").set_index("explanation")["mean"]
        for other in (*rivals, "brightness", "noise"):
            difference = found.compare("BIG", other, "energy_game")
            low, high = difference.mean_interval
            detail = f"means {means['BIG']:.3f} and {means[other]:.3f}, difference {difference.mean:.3f} "
            detail += f"[{low:.3f}, {high:.3f}], {kept}"
            yield entry(f"energy in the mask, BIG minus {other}, low end: {name}", low, 0.0, "at_least", detail)


def _random_network(dims: int, hidden: int, depth: int, classes: int, seed: int) -> nn.Sequential:
    """Dense layers with ReLUs between them, of Gaussian weights and biases, in float64."""
    sizes = (dims, *(hidden,) * depth, classes)
    layers = [layer for ends in pairwise(sizes) for layer in (nn.Linear(*ends), nn.ReLU())]
    network, generator = nn.Sequential(*layers[:-1]).double(), torch.Generator().manual_seed(seed)
    for p in network.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64) / max(2, p.shape[-1]) ** 0.5
    return network
