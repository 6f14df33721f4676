"""Measure boundary attributions and keep it in docs/boundaries/<part>.json, which tabulate_boundaries.py shows.

    python scripts/measure_boundaries.py [placed-standard] [cifar-resnet20] [noise] [softplus] ...

Networks of `networks.TRAINED`: localisation with its baselines, alignment, their correlation, and on `placed` the
removal of items; two sheets each. Networks of `networks.PUBLISHED`: alignment alone. `noise` and `softplus`: does the
gradient of the CIFAR-10 ResNet-20 come closer to the boundary's normal as the network is smoothed (theorem 1 of Wang,
Fredrikson and Datta)? CIFAR-10, MNIST, Tiny ImageNet and the published weights are looked for in `HOLDFAST_DATA`.
"""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast import attacks, data, explanations, networks, scores
from holdfast.data import Split
from holdfast.ensemble import Ensemble
from holdfast.report.figures import explanation_sheet
from holdfast.studies.boundary_attributions import METHODS, PAIRS, BoundaryAttributions, boundary_attributions

HOME = Path(__file__).resolve().parents[1]
FOLDER = HOME / "docs" / "boundaries"
DATA = Path(os.environ.get("HOLDFAST_DATA", HOME.parent / "shared" / "data"))
IMAGES = 200  # the first of the test split
STEPS = 100  # gradients of the boundary search for one image
SHEETS = 1
NOISE = dict(spread=0.05, copies=50)  # of boundary SmoothGrad on the sheets; at 0.15 decisions become others
FEW = 12  # gradients of its search, each over all copies
SMOOTHED = dict(images=100, copies=10, steps=36, stages=("minimal_norm", "closing_in"), tolerance=1e-3)
SPREADS = (0.0, 0.025, 0.05, 0.1, 0.2)
BETAS = (1000.0, 100.0, 30.0, 10.0, 3.0)
DISTANCES = {
    "l2": scores.l2_distance,
    "relative": scores.relative_distance,
    "cosine": partial(scores.cosine, channels="separate"),
}


def study(name: str) -> None:
    """All tables of one network."""
    trained = name in networks.TRAINED
    entry = networks.TRAINED[name] if trained else networks.PUBLISHED[name]
    ensemble = networks.load_trained(name) if trained else Ensemble.from_networks(networks.load_published(name, DATA))
    dataset = data.load("placed", train=1) if entry.data == "placed" else data.load(entry.data, data_dir=DATA)
    test = dataset.test[:IMAGES]
    region = {"placed": "masks", "tiny-imagenet": "boxes"}.get(entry.data)
    methods = METHODS if trained else {m: METHODS[m] for pair in PAIRS for m in pair}
    found = boundary_attributions(ensemble, test, region=region, methods=methods, steps=STEPS)
    counts = found.boundary.summary | {"used": int(found.used.sum())}
    counts["on_boundary"] = int(found.boundary.on_boundary.sum())
    if found.localised:
        counts |= {"no_region": found.localised.no_region, "no_map": found.localised.no_map}
        counts["no_region_in_train_and_test"] = [int(s.degenerate.sum()) for s in (dataset.train, dataset.test)]
    kept = {"data": entry.data, "trained": entry.trained, "region": region, "steps": STEPS, "counts": counts}
    tables = {"alignment": found.alignment}
    if found.localised:
        tables |= {"localisation": found.localised.table(), "correlation": found.correlation}
        kept["comparison"] = list(_comparisons(found))
    if found.removal is not None:
        tables["removal"] = found.removal
    _keep(name, kept | {title: table.to_dict("records") for title, table in tables.items()})
    if trained:
        _draw(name, ensemble, found, test, dataset.classes)


def _comparisons(found: BoundaryAttributions) -> Iterator[dict[str, Any]]:
    """BIG against all others on every score, paired over images."""
    for other in found.localised.values:
        for score in found.localised.values[other] if other != "BIG" else ():
            c = found.localised.compare("BIG", other, score)
            low, high = c.mean_interval
            yield dict(second=other, score=score, difference=c.mean, low=low, high=high)


def _draw(name: str, ensemble: Ensemble, found: BoundaryAttributions, test: Split, classes: tuple[str, ...]) -> None:
    """The sheets of the first images used."""
    for number, row in enumerate(found.used.nonzero()[:SHEETS, 0].tolist()):
        if hasattr(test, "masks"):
            region = test.masks[row]
        else:
            x0, y0, x1, y1 = test.boxes[row].tolist()
            region = torch.zeros(test.images.shape[-2:], dtype=torch.bool)
            region[y0 : y1 + 1, x0 : x1 + 1] = True
        maps = {method: values[row] for method, values in found.maps.items()}
        maps["boundary SmoothGrad"] = _boundary_smooth_grad(ensemble, test[row : row + 1])
        png = explanation_sheet(test.images[row], maps, found.boundary[row : row + 1], classes, region=region)
        (FOLDER / f"{name}-{number}.png").write_bytes(png)


def _boundary_smooth_grad(ensemble: Ensemble, one: Split) -> Tensor:
    """On the sheets alone: its search takes as many times as long as there are noisy copies.

    NaN where the smoothed classifier does not decide for the label: then it has no such map.
    """
    x = one.images
    smooth = attacks.noisy_copies(ensemble, tuple(x.shape[1:]), **NOISE)
    given = {k: SMOOTHED[k] for k in ("stages", "tolerance")}
    boundary = attacks.nearest_boundary(smooth, x, n_target_classes=0, steps=FEW, **given)
    return explanations.boundary_smooth_grad(ensemble, x, one.labels, boundary=boundary, **NOISE)[0, 0]


def noise(name: str) -> None:
    """SmoothGrad against boundary SmoothGrad with the same noise, as it grows."""

    def smooth(ensemble: Ensemble, shape: tuple[int, ...], spread: float) -> Ensemble:
        return attacks.noisy_copies(ensemble, shape, spread=spread, copies=SMOOTHED["copies"] if spread else 1)

    _smoothing(name, "spread", SPREADS, smooth)


def softplus(name: str) -> None:
    """The gradient at the image against that at the boundary, as softplus takes the place of ReLU."""
    _smoothing(name, "beta", BETAS, lambda ensemble, shape, beta: attacks.smoothed(ensemble, beta))


def _smoothing(name: str, setting: str, values: tuple[float, ...], smooth: Callable[..., Ensemble]) -> None:
    """One row per amount of smoothing; rows that are there already are kept."""
    plain = Ensemble.from_networks(networks.load_published("cifar-resnet20", DATA))
    split = data.load("cifar-10", data_dir=DATA).test[: SMOOTHED["images"]]
    path, rows = FOLDER / f"{name}.json", []
    if path.exists() and json.loads(path.read_text())["settings"] == json.loads(json.dumps(SMOOTHED)):
        rows = json.loads(path.read_text())["rows"]
    for value in values:
        if any(row[setting] == value for row in rows):
            continue
        ensemble = smooth(plain, tuple(split.images.shape[1:]), value)
        given = {k: SMOOTHED[k] for k in ("steps", "stages", "tolerance")}
        boundary = attacks.nearest_boundary(ensemble, split.images, n_target_classes=0, **given)
        ok = boundary.success
        row = {
            setting: value,
            "accuracy": float((boundary.own == split.labels).double().mean()),
            "images": int(ok.sum()),
            "distance": float(boundary.distance[ok].median()),
        }
        here, there = (_gradients(ensemble, at[ok], boundary[ok]) for at in (split.images, boundary.points))
        for of, a, b in zip(("class", "lead"), here, there, strict=True):
            row |= {f"{of} {title}": float(distance(a, b).median()) for title, distance in DISTANCES.items()}
        _keep(name, {"settings": SMOOTHED, "rows": (rows := [*rows, row])})
        print(row, flush=True)


def _gradients(ensemble: Ensemble, at: Tensor, boundary: attacks.Boundary) -> tuple[Tensor, Tensor]:
    """Of the class decided for, as published, and of its lead over the class across, the normal."""
    own, other = (explanations.saliency(ensemble, at, classes)[0] for classes in (boundary.own, boundary.other))
    return own, own - other


def _keep(name: str, values: dict[str, Any]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(_short(values), indent=1) + "\n", encoding="utf-8")


def _short(values: Any) -> Any:
    """Figures of five digits; NaN, which JSON does not know, as None."""
    if isinstance(values, dict):
        return {key: _short(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_short(value) for value in values]
    if isinstance(values, float):
        return float(f"{values:.5g}") if values == values else None
    return values


def main() -> None:
    """Measure the parts asked for."""
    parts: dict[str, Callable[[str], None]] = dict.fromkeys([*networks.TRAINED, *networks.PUBLISHED], study)
    parts |= {"noise": noise, "softplus": softplus}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="+", choices=parts, metavar="part", help=", ".join(parts))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in arguments.parts:
        parts[name](name)
        print(f"measured {name}", flush=True)


if __name__ == "__main__":
    main()
