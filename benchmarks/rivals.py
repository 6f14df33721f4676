"""`python -m benchmarks.rivals [ROW ...]`: every inference method on MNIST, `fc2` 512, all 60,000 images, one table.

Each method has its own defaults, 30 draws and temperature 1 (the deep ensemble 5 members), and sees standardised
images. What is asked of each: a negative log likelihood on the 10,000 test images no higher than that of the one
network by `sgd`, which is what averaging over draws is for. A difference below two Monte Carlo standard errors is
*not resolved*, whatever the bound says: other draws of the same method might have fallen on its other side. The errors
take the draws for independent, which those along one path of `sgld`, `sghmc` and `hmc` are not quite; and each method
was run once, with one seed, of which they know nothing. The row says the rest: accuracy, Brier score, calibration
error, the mean entropy of predictions on the test images and on shifted ones, CPU seconds. The row of HMC is read from
`results/hmc/mnist.json`. Half an hour of one core in all, so it is no family of `python -m benchmarks`; rows already in
`results/rivals.json` are kept unless they are named.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.__main__ import RESULTS, show, write
from benchmarks.hmc_runs import RECORDS
from benchmarks.measure import entry
from benchmarks.predictions import SHIFTS, predicted
from holdfast import data, inference, machine, networks
from holdfast.ensemble import Ensemble

FAMILY, DRAWS, MEMBERS = "rivals", 30, 5
NOTE = """\
Each method was run once. Averages of trained networks (deep ensemble, dropout, SWAG) have a lower negative log
likelihood than the one network, and so, by less, has a Laplace approximation of the last layer. Draws of all
weights from a posterior with a Gaussian prior at temperature 1 do not: SGLD, mean field and low rank are higher by
more than two Monte Carlo standard errors, SGHMC is not resolved, and HMC is higher by more than twice any of the
errors here, with none of its own on record. The errors take draws for independent, which those of SGLD and SGHMC
are not quite. Posteriors at temperature 1 have been seen to predict worse than one network before (Wenzel et al.
2020, arXiv:2002.02405). Those whose entropy was measured (all but HMC's) are less certain than the one network,
most of all on shifted images."""
METHODS: dict[str, tuple[Callable[..., Ensemble], dict[str, Any]]] = {
    "sgd": (inference.sgd, {}),
    "deep_ensemble": (inference.deep_ensemble, {"members": MEMBERS}),
    "mc_dropout": (inference.mc_dropout, {"draws": DRAWS}),
    "laplace": (inference.laplace, {"draws": DRAWS, "structure": "kronecker"}),
    "swag": (inference.swag, {"draws": DRAWS}),
    "sgld": (inference.sgld, {"draws": DRAWS}),
    "sghmc": (inference.sghmc, {"draws": DRAWS}),
    "mean_field": (inference.mean_field, {"draws": DRAWS}),
    "low_rank": (inference.low_rank, {"draws": DRAWS}),
}

ROWS = [*METHODS, "hmc"]


def measure(row: str) -> dict[str, Any]:
    """What one method reaches."""
    if row == "hmc":
        record = json.loads((RECORDS / "mnist.json").read_text(encoding="utf-8"))
        own = record.get("predictions", {"accuracy": record["accuracy"], "nll": record["nll"]})
        return own | {"draws": record["draws"], "warnings": record["warnings"]}
    method, given = METHODS[row]
    dataset = data.load("mnist", download=False)
    x = dataset.train.images
    network = networks.fc2(dataset.shape, len(dataset.classes), width=512)
    network = networks.normalised(network, float(x.mean()), float(x.std()))
    begun = time.process_time()
    ensemble = method(network, dataset.train, seed=0, **given)
    seconds = time.process_time() - begun
    warnings = list(ensemble.diagnostics.warnings) if ensemble.diagnostics else []
    return predicted(ensemble, dataset) | {"draws": len(ensemble), "cpu_seconds": seconds, "warnings": warnings}


def difference(found: dict[str, Any], other: dict[str, Any]) -> str:
    """How far one negative log likelihood is from another, and whether the draws resolve it.

    >>> difference({"nll": 0.0634, "nll_mcse": 0.0004}, {"nll": 0.0628, "nll_mcse": 0.0})
    'minus sgd 0.0006 ± 0.0004: *not resolved*'
    """
    gap = found["nll"] - other["nll"]
    error = math.hypot(*(one.get("nll_mcse", math.nan) for one in (found, other)))
    if math.isnan(error):
        return f"minus sgd {gap:.4f}: *not resolved*, error unknown"
    return f"minus sgd {gap:.4f} ± {error:.4f}" + ": *not resolved*" * (abs(gap) < 2 * error)


def as_entry(row: str, found: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """The line of one method in the table; `one` is what the one network by `sgd` reaches."""
    detail = "" if row == "sgd" else f"{difference(found, one)}; "
    detail += f"{found['draws']} draws, accuracy {found['accuracy']:.2%}"
    if "brier" in found:
        shifted = ", ".join(f"{name} {found[name]:.2f}" for name in SHIFTS)
        detail += f", Brier {found['brier']:.4f}, calibration error {found['ece']:.4f}; "
        detail += f"entropy {found['entropy']:.2f}, {shifted}"
    if "cpu_seconds" in found:
        detail += f"; {found['cpu_seconds']:.0f} CPU seconds"
    detail += "".join(f"; {warning}" for warning in found.get("warnings", ()))
    name = f"mnist: fc2 512 by {row}, negative log likelihood"
    return entry(name, found["nll"], one["nll"], "at_most", detail) | {"row": row, "figures": found}


def as_table(done: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of all methods that are done, in their order."""
    return [as_entry(row, done[row], done["sgd"]) for row in ROWS if row in done]


def main(arguments: list[str] | None = None) -> int:
    """Run the rows named, or all that are not there yet."""
    rows = ROWS
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rivals", description=__doc__)
    parser.add_argument("row", nargs="*", help=f"which rows to run: {', '.join(rows)} (default: those not there)")
    named = parser.parse_args(arguments).row
    if unknown := sorted(set(named).difference(rows)):
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(rows)}")
    print("machine:", ", ".join(f"{name} {value}" for name, value in machine.tune().items()))
    path = RESULTS / f"{FAMILY}.json"
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    done = {e["row"]: e["figures"] for e in entries}
    for row in dict.fromkeys(["sgd", *(named or rows)]):  # the bound of all others first
        if row in named or row not in done:
            done[row] = measure(row)
            write(FAMILY, as_table(done))
    write(FAMILY, as_table(done))  # what is said of the figures may have changed
    show(FAMILY, json.loads(path.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
