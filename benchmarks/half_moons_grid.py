"""`python -m benchmarks.half_moons_grid`: HMC on the half-moons grid of Carbone et al. 2020.

Networks `fc2` of width 32 to 512, on all of 5,000, 10,000 or 15,000 points, after 100, 200 or 500 trajectories, 250
draws each (arXiv:2002.04359, figure 1; there every chain saw the last mini-batch only). The three cells of one width
and size run as one stack. `results/hmc/half-moons.json` gets, for each stack, the accuracies, the diagnostics and the
CPU seconds; stacks that are in it already are not run again. With `--draws 8 --warm-ups 0 0 0` it is a short run, and
what the whole chain would take is reckoned from the seconds per trajectory.
"""

import argparse
import json
import time
from typing import Any

import torch

from benchmarks.hmc_runs import RECORDS
from holdfast import inference, machine, networks
from holdfast.data import half_moons
from holdfast.inference.hmc import Plan, stacked_cells

WIDTHS, POINTS, WARM_UPS, DRAWS = (32, 128, 256, 512), (5000, 10000, 15000), (100, 200, 500), 250
PLAN = Plan(
    trajectory=0.5, burn_in=(0.3, 0.6), warm_up=9, step=0.02, start=inference.Training(epochs=10, batch_size=128)
)


def main() -> None:
    """Run the stacks that are missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.half_moons_grid", description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--points", type=int, nargs="+", default=POINTS)
    parser.add_argument("--warm-ups", type=int, nargs="+", default=WARM_UPS)
    options = parser.parse_args()
    machine.tune()
    file = RECORDS / "half-moons.json"
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for width in options.widths:
        for points in options.points:
            key = f"{width} {points} {options.draws} {' '.join(map(str, options.warm_ups))}"
            if key not in record:
                record[key] = stack(width, points, options.draws, options.warm_ups)
                RECORDS.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
                print(key, record[key], flush=True)


def stack(width: int, points: int, draws: int, warm_ups: list[int]) -> dict[str, Any]:
    """One stack: the cells of all warm-ups."""
    dataset = half_moons(points=points * 5 // 4, noise=0.1)
    x = dataset.train.images
    network = networks.normalised(networks.fc2((2,), 2, width=width), float(x.mean()), float(x.std()))
    plan = Plan(**{**PLAN.__dict__, "draws": draws})
    discard = [max(0, w - plan.warm_up - len(plan.burn_in)) for w in warm_ups]
    begun = time.process_time()
    inference.sgd(network, dataset.train, seed=0, prior="fan_in", training=plan.start)
    fits = len(warm_ups) * (time.process_time() - begun)
    begun = time.process_time()
    cells = stacked_cells(network, [dataset.train] * len(warm_ups), seed=0, preset=plan, discard=discard)
    seconds = time.process_time() - begun
    found = cells[0].diagnostics.summary
    right = lambda e: float((e.predict(dataset.test.images) == dataset.test.labels).double().mean())
    trajectories = max(discard) + draws + found["warm_up_trajectories"][0]
    return {
        "accuracy": [right(e) for e in cells],
        "acceptance": [e.diagnostics.summary["acceptance"] for e in cells],
        "rms_energy_error": [e.diagnostics.summary["rms_energy_error"] for e in cells],
        "step_size": found["step_size"][0],
        "leapfrog_steps": found["leapfrog_steps"][0],
        "settled": [e.diagnostics.summary["settled_before_the_first_draw"][0] for e in cells],
        "trajectories": trajectories,
        "threads": torch.get_num_threads(),
        "cpu_seconds": round(seconds, 1),
        "cpu_seconds_of_the_whole_chain": round(fits + (seconds - fits) / trajectories * (max(WARM_UPS) + DRAWS), 1),
    }


if __name__ == "__main__":
    main()
