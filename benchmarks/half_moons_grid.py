"""`python -m benchmarks.half_moons_grid`: HMC on the half-moons grid of Carbone et al. 2020.

Networks `fc2` of width 32 to 512, on all of 5,000, 10,000 or 15,000 points, after 100, 200 or 500 trajectories, 250
draws each (arXiv:2002.04359, figure 1; there every chain saw the last mini-batch only). The three lengths of warm-up
are three windows of one chain: trajectories 101 to 350, 201 to 450 and 501 to 750. They overlap, so their differences
are those of waiting longer and not of another chain. Two chains run at a time, in one thread each.

`results/hmc/half-moons.json` gets, for each chain, the accuracies of its windows, the diagnostics and the CPU seconds;
chains that are in it already are not run again. A record's name is "WIDTH POINTS TRAJECTORIES", the trajectories being
those that were run: with `--trajectories 40` each is a short run without those windows, longer by as much as its
warm-up was prolonged, and what the whole chain would take is reckoned from the seconds per trajectory. What was asked
for is in the record.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from typing import Any

import torch
from joblib import Parallel, delayed

from benchmarks.hmc_runs import RECORDS
from benchmarks.measure import processor
from holdfast import inference, machine, networks
from holdfast.data import half_moons
from holdfast.ensemble import Ensemble
from holdfast.inference.hmc import Plan, hmc

WIDTHS, POINTS, WARM_UPS, DRAWS = (32, 128, 256, 512), (5000, 10000, 15000), (100, 200, 500), 250
WHOLE = max(WARM_UPS) + DRAWS
PLAN = Plan(
    chains=1,
    trajectory=0.5,
    burn_in=(0.1, 0.3),
    warm_up=9,
    step=0.03,
    mass="kron_in",
    start=inference.Training(epochs=10, batch_size=128),
)


def main() -> None:
    """Run the chains that are missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.half_moons_grid", description=__doc__)
    parser.add_argument("--trajectories", type=int, default=WHOLE, help="asked of a chain, its adapting ones included")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--points", type=int, nargs="+", default=POINTS)
    options = parser.parse_args()
    file = RECORDS / "half-moons.json"
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    done = {(*map(int, key.split()[:2]), found["asked"]) for key, found in record.items()}
    cells = [(w, n) for w in options.widths for n in options.points]
    missing = [(w, n) for w, n in cells if (w, n, options.trajectories) not in done]
    missing.sort(key=lambda cell: -cell[0] * cell[0] * cell[1])  # the longest first
    runs = Parallel(2, return_as="generator")(delayed(cell)(w, n, options.trajectories) for w, n in missing)
    for (width, points), found in zip(missing, runs, strict=True):
        key = f"{width} {points} {found['trajectories']}"
        record[key] = found
        RECORDS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dict(sorted(record.items())), indent=1) + "\n", encoding="utf-8")
        print(key, found, flush=True)


def cell(width: int, points: int, trajectories: int) -> dict[str, Any]:
    """One chain, and what its windows reach."""
    torch.set_num_threads(1)
    machine.keep_freed_memory()
    dataset = half_moons(points=points * 5 // 4, noise=0.1)
    x = dataset.train.images
    network = networks.normalised(networks.fc2((2,), 2, width=width), float(x.mean()), float(x.std()))
    sample = lambda draws: hmc(network, dataset.train, seed=0, preset=replace(PLAN, draws=draws), folder=folder)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.process_time()
        sample(1)  # the fit and the adapting trajectories
        adapting, begun = time.process_time() - begun, time.process_time()
        draws = sample(trajectories - PLAN.warm_up - len(PLAN.burn_in))
        each = (time.process_time() - begun) / (len(draws) - 1)
    summary, history = draws.diagnostics.summary, draws.diagnostics.history
    (adapted,) = summary["warm_up_trajectories"]
    right = lambda e: float((e.predict(dataset.test.images) == dataset.test.labels).double().mean())
    windows = {}
    for name, first, last in [("all", 0, len(draws)), *((str(w), w - adapted, w - adapted + DRAWS) for w in WARM_UPS)]:
        if last <= len(draws):
            own = Ensemble(draws.network, {k: v[first:last] for k, v in draws.weights.items()})
            accepted = history["accepted"][first:last]
            windows[name] = {"accuracy": right(own), "acceptance": sum(accepted) / len(accepted)}
    return {
        "windows": windows,
        "divergences": summary["divergences"],
        "step_size": summary["step_size"][0],
        "leapfrog_steps": summary["leapfrog_steps"][0],
        "precision": draws.diagnostics.settings["precision"],
        "settled": summary["settled_before_the_first_draw"][0],
        "warnings": list(draws.diagnostics.warnings),
        "asked": trajectories,
        "trajectories": adapted + len(draws),
        "processor": processor(),
        "cpu_seconds": round(adapting + each * (len(draws) - 1), 1),
        "cpu_seconds_of_the_whole_chain": round(adapting + each * (WHOLE - adapted - 1), 1),
    }


if __name__ == "__main__":
    main()
