"""Processes: where the chains run. One single-threaded process per chain on a CPU, or all chains as one stack.

Two threads that share one chain's products are slower than two chains with a thread each, and on a busy machine many
times slower. Chains whose gradient is small are stacked instead: their time is spent on calling kernels, not in them.
"""

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from torch import Tensor, nn

from holdfast.data.dataset import Split
from holdfast.inference.hmc.chains import Run, run_chains
from holdfast.inference.hmc.checkpoints import Checkpoints
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.heavy_tails import HeavyTails
from holdfast.inference.hmc.potential import potential
from holdfast.inference.hmc.presets import Plan
from holdfast.progress import track

STACKED_CPU, STACKED_GPU = 5e7, 2e9  # operations of a gradient up to which chains are stacked


@dataclass
class Problem:
    """All that a stack of chains needs to know.

    Attributes:
        network: the architecture, with its buffers.
        data: what all chains see.
        coordinates: which parameters are random, and how they lie in z.
        start: positions of all chains `[K, d]`.
        fixed: every other parameter and buffer `[K, ...]`.
        seeds: of each chain.
        seed: of the run.
        plan, temperature, precision: settings.
        memory: budget in bytes for a block of images.
        degrees: of a Student-t prior, or None for a normal one.
        folder: where the checkpoints are.
        processes: how many may work at once on a CPU, None for one per core.
    """

    network: nn.Module
    data: Split
    coordinates: Coordinates
    start: Tensor
    fixed: dict[str, Tensor]
    seeds: Sequence[int]
    seed: int
    plan: Plan
    temperature: float
    precision: str
    folder: Path
    memory: int
    degrees: float | None = None
    processes: int | None = None


def run_stack(problem: Problem, rows: slice) -> Iterator[Run]:
    """Run the chains `rows` as one stack in this process; yields after every trajectory."""
    from filelock import FileLock, Timeout

    folder = problem.folder / "-".join(["chains", *(f"{i:02d}" for i in range(len(problem.start))[rows])])
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(
            f"inference.hmc: another process is working in {folder}; wait for it, or choose another folder."
        ) from None
    with lock:
        density = potential(
            problem.network,
            problem.coordinates,
            problem.data.images[None],
            problem.data.labels[None],
            fixed={k: v[rows] for k, v in problem.fixed.items()},
            temperature=problem.temperature,
            precision=problem.precision,
            memory=problem.memory,
        )
        if problem.degrees is not None:
            density = HeavyTails(density, problem.degrees, problem.temperature)
        yield from run_chains(
            density,
            problem.start[rows],
            problem.seeds[rows],
            problem.seed,
            problem.plan,
            problem.plan.first_step(len(problem.data)),
            Checkpoints(folder),
        )


def run_all(problem: Problem) -> list[Run]:
    """Run all chains: stacked where a gradient is small, else a process each on a CPU, one after the other on a GPU."""
    chains, device = len(problem.start), problem.start.device.type
    if chains == 1 or flops(problem) <= (STACKED_CPU if device == "cpu" else STACKED_GPU):
        return [_last(run_stack(problem, slice(0, chains)), problem.plan)]
    workers = min(chains, problem.processes or os.cpu_count() or 1)
    if device != "cpu" or workers == 1:
        with _one_thread():  # as in a process of its own: the bits of a product depend on the threads that share it
            return [_last(run_stack(problem, slice(k, k + 1)), problem.plan) for k in range(chains)]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "problem.pt"
        torch.save(problem, file)
        context = get_context("spawn")
        stop = context.Event()
        with ProcessPoolExecutor(workers, context, _begin_process, (stop,)) as pool:
            futures = [pool.submit(_run_chain, file, chain) for chain in range(chains)]
            try:
                for _ in track(_finished(futures, problem), "hmc", chains * problem.plan.draws):
                    pass
                return [future.result() for future in futures]
            except BaseException:
                stop.set()  # the others end after their present trajectory, which is kept
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def flops(problem: Problem) -> float:
    """Operations of one chain's full-batch gradient, roughly: six for each entry of a weight matrix and image."""
    return 6.0 * len(problem.data) * sum(p.numel() for p in problem.network.parameters() if p.ndim >= 2)


def _last(runs: Iterator[Run], plan: Plan) -> Run:
    *_, run = track(runs, "hmc", plan.warm_up + len(plan.burn_in) + plan.draws)
    return run


def _finished(futures: list[Future], problem: Problem) -> Iterator[int]:
    """One item for every kept draw, as it appears; ends with the chains, or with the error of the first to fail."""
    seen = 0
    while True:
        done, waiting = wait(futures, timeout=1, return_when=FIRST_EXCEPTION)
        found = sum(1 for _ in problem.folder.glob("chains-*/draw-*.safetensors"))
        yield from range(seen, found)
        seen = max(seen, found)
        for future in done:
            future.result()
        if not waiting:
            return


def _run_chain(file: Path, chain: int) -> Run:
    problem = torch.load(file, weights_only=False, mmap=True)  # our own file, written a moment ago
    for run in run_stack(problem, slice(chain, chain + 1)):  # noqa: B007, the last one is the result
        if _stop is not None and _stop.is_set():
            raise InterruptedError("inference.hmc: another chain failed; what this one has finished is kept.")
    return run


_stop: Event | None = None  # in a chain's process: set when the run is to end


def _begin_process(stop: Event) -> None:
    """Settings of a chain's process: one thread, kept memory, and an end when its parent ends."""
    from holdfast import machine

    global _stop
    _stop = stop
    torch.set_num_threads(1)
    machine.keep_freed_memory()
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: a killed parent must not leave chains behind
