"""Scaling: cells of a study by 1, 2, 4 and 8 workers, and what the engine itself takes of each.

The cells are small networks, trained for a moment, attacked and asked: some 30 ms of work each, the least that a study
has. Throughput is bounded by the cores that there are; overhead is what 200 cells without work cost.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count

from benchmarks.measure import entry
from holdfast.studies.engine import Cell, Store, execute

WORKERS = (1, 2, 4, 8)
CELLS, EMPTY = 240, 200
ROUNDS = 3


def run() -> list[dict[str, Any]]:
    """All entries of this family."""
    torch.set_num_threads(1)
    seconds = {workers: [] for workers in WORKERS}
    for _ in range(ROUNDS):
        for workers in WORKERS:
            execute_in(workers, study(2 * workers))  # workers are started before the clock
            seconds[workers].append(execute_in(workers, study(CELLS // 3, first=1000)))
    best = {workers: min(values) for workers, values in seconds.items()}
    told = ", ".join(f"{w} workers {CELLS / best[w]:.0f} cells/s" for w in WORKERS)
    cores = cpu_count()
    entries = [
        entry(
            f"{workers} workers on {cores} cores, throughput to that of one",
            best[1] / best[workers],
            0.7 * min(workers, cores),
            "at_least",
            f"{CELLS} cells, best of {ROUNDS} rounds: {told}",
        )
        for workers in WORKERS[1:]
    ]
    overhead = min(execute_in(1, nothing()) / EMPTY for _ in range(ROUNDS))
    entries.append(
        entry("overhead per cell, ms", 1e3 * overhead, 50, "at_most", f"{EMPTY} cells without work, 1 worker")
    )
    return entries


def execute_in(workers: int, cells: list[Cell]) -> float:
    """Seconds to compute cells in a new folder."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        outcomes = execute(Store(Path(folder)), cells, jobs=workers)
        seconds = time.perf_counter() - start
    if any(o.state != "computed" for o in outcomes):
        raise RuntimeError(f"scaling: {next(o.message for o in outcomes if o.state != 'computed')}")
    return seconds


def study(networks: int, first: int = 0) -> list[Cell]:
    """Three cells for each network."""
    cells = []
    for seed in range(first, first + networks):
        fit = network(seed)
        points = {"data": "fashion-mini", "points": 50}
        fgsm = {"function": "holdfast.attacks.fgsm", "budget": {"norm": "linf", "epsilons": 0.1}}
        attack = Cell("attack", points | {"attack": fgsm, "seed": 0}, {"ensemble": fit})
        cells.append(Cell("predictions", points, {"ensemble": fit, "attack": attack}))
    return cells


def nothing() -> list[Cell]:
    """Cells that have next to nothing to do: one network's logits times a number."""
    loud = "holdfast.studies.controls.loud"
    fits = [{"function": loud, "of": "deterministic", "factor": 1.0 + i} for i in range(EMPTY - 1)]
    return [Cell("fit", {"fit": fit, "seed": 0}, {"of": network(0)}) for fit in fits]


def network(seed: int) -> Cell:
    """A small network, trained for an epoch."""
    how = {"function": "holdfast.inference.sgd", "training": {"epochs": 1}}
    problem = {"data": "fashion-mini", "train": 1000, "network": {"name": "fc2", "width": 32}}
    return Cell("fit", problem | {"fit": how, "seed": seed})
