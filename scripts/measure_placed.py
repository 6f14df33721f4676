"""Measure boundary attributions on `placed`: localisation, alignment, removal, and SmoothGrad as its noise grows.

    python scripts/measure_placed.py [placed-standard] [--images 200] [--sheets FOLDER] [--noise]

Prints the tables; with `--sheets` also draws six images with all their maps. `--noise` asks whether SmoothGrad comes
closer to the boundary's normal as the noise grows (theorem 1 of Wang, Fredrikson and Datta), on 24 images.
"""

import argparse
from pathlib import Path

import pandas as pd
import torch

from holdfast import attacks, data, explanations, networks, scores
from holdfast.data import Split
from holdfast.ensemble import Ensemble
from holdfast.report.figures import explanation_sheet
from holdfast.studies.boundary_attributions import boundary_attributions

SPREADS = (0.0, 0.05, 0.1, 0.2, 0.4)
COPIES = 20


def noise(ensemble: Ensemble, split: Split) -> pd.DataFrame:
    """SmoothGrad against boundary SmoothGrad with the same noise, both of the lead over the class across."""
    rows = []
    for spread in SPREADS:
        smooth = attacks.noisy_copies(ensemble, tuple(split.images.shape[1:]), spread=spread, copies=COPIES)
        boundary = attacks.nearest_boundary(
            smooth, split.images, split.labels, steps=40, stages=("minimal_norm", "closing_in"), n_target_classes=0
        )
        ok = boundary.success
        here, there = (_lead(smooth, at, boundary)[ok] for at in (split.images, boundary.points))
        rows.append(
            {
                "spread": spread,
                "images": int(ok.sum()),
                "distance": float(boundary.distance[ok].median()),
                "l2": float(scores.l2_distance(here, there).median()),
                "relative": float(scores.relative_distance(here, there).median()),
                "cosine": float(scores.cosine(here, there, channels="separate").median()),
            }
        )
    return pd.DataFrame(rows)


def _lead(ensemble: Ensemble, at: torch.Tensor, boundary: attacks.Boundary) -> torch.Tensor:
    own, other = (explanations.saliency(ensemble, at, classes) for classes in (boundary.own, boundary.other))
    return (own - other)[0]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("network", nargs="?", default="placed-standard", help=", ".join(networks.TRAINED))
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--sheets", type=Path, help="folder for the pictures")
    parser.add_argument("--noise", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pd.set_option("display.width", 250, "display.max_columns", 50, "display.max_rows", 500)
    ensemble, placed = networks.load_trained(arguments.network), data.load("placed", train=1)
    test = placed.test[: arguments.images]
    if arguments.noise:
        print(noise(ensemble, test[:24]).round(3).to_string())
        return
    found = boundary_attributions(ensemble, test, region="masks")
    print(found.boundary.summary)
    means = found.localised.table().pivot(index="explanation", columns="score", values="mean")
    print(means.sort_values("energy_game", ascending=False).round(3).to_string())
    for other in found.localised.values:
        if other != "BIG":
            c = found.localised.compare("BIG", other, "energy_game")
            print(f"BIG - {other}: {c.mean:.3f} [{c.mean_interval[0]:.3f}, {c.mean_interval[1]:.3f}]")
    print(found.alignment.round(3).to_string())
    print(found.correlation.query("distance != 'relative'").round(2).to_string())
    print(found.removal.round(3).to_string())
    for i in range(6) if arguments.sheets else ():
        maps = {name: values[i] for name, values in found.maps.items()}
        png = explanation_sheet(test.images[i], maps, found.boundary[i : i + 1], placed.classes, region=test.masks[i])
        (arguments.sheets / f"{arguments.network}-{i}.png").write_bytes(png)


if __name__ == "__main__":
    main()
