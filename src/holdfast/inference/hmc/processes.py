"""Processes: where the chains run. One single-threaded process per chain on a CPU, or all chains as one stack.

Two threads that share one chain's products are slower than two chains with a thread each, and on a busy machine many
times slower. Chains whose gradient is small are stacked instead: their time is spent on calling kernels, not in them.
"""

import os
import pickle
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast.data.dataset import Split
from holdfast.inference.hmc.chains import Run, run_chains
from holdfast.inference.hmc.checkpoints import Checkpoints
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.heavy_tails import HeavyTails
from holdfast.inference.hmc.home import claimed
from holdfast.inference.hmc.potential import potential
from holdfast.inference.hmc.presets import Plan
from holdfast.inference.hmc.threads import one_thread
from holdfast.progress import track

STACKED_CPU, STACKED_GPU = 5e7, 2e9  # operations of a gradient up to which chains are stacked
LONGEST = 200  # characters of a folder's name; file systems take 255, some of them fewer


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
        temporary: whether the folder goes when the run ends.
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
    temporary: bool = False


def run_stack(problem: Problem, rows: slice) -> Iterator[Run]:
    """Run the chains `rows` as one stack in this process; yields after every trajectory."""
    with claimed(problem.folder / folder_name(range(len(problem.start))[rows])) as folder:
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


def folder_name(chains: range) -> str:
    """Of a stack's checkpoints: all its chains, or the first and the last where a file system would not take more.

    >>> folder_name(range(3)), folder_name(range(100))
    ('chains-00-01-02', 'chains-00-to-99')
    """
    name = "-".join(["chains", *(f"{i:02d}" for i in chains)])
    return name if len(name) <= LONGEST else f"chains-{chains[0]:02d}-to-{chains[-1]:02d}"


def run_all(problem: Problem) -> list[Run]:
    """Run all chains: stacked where a gradient is small, else a process each on a CPU, one after the other on a GPU.

    Raises:
        ChildProcessError: a chain's process ended without a word.
    """
    chains, device = len(problem.start), problem.start.device.type
    with one_thread():  # as in a process of its own
        if chains == 1 or flops(problem) <= (STACKED_CPU if device == "cpu" else STACKED_GPU):
            return [_last(run_stack(problem, slice(0, chains)), problem.plan)]
        workers = min(chains, problem.processes or os.cpu_count() or 1)
        why = _cannot_travel(problem.network) if device == "cpu" and workers > 1 else ""
        if why:
            warnings.warn(f"inference.hmc: chains run one after the other, {why}.", OneProcess, stacklevel=3)
        if device != "cpu" or workers == 1 or why:
            return [_last(run_stack(problem, slice(k, k + 1)), problem.plan) for k in range(chains)]
        return _in_processes(problem, workers)


class OneProcess(UserWarning):
    """Chains that could have run at once run one after the other."""


def _cannot_travel(network: nn.Module) -> str:
    """Why another process cannot be given the network; empty where it can."""
    try:
        pickled = pickle.dumps(network)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        return f"since the network cannot be pickled ({error})"
    main = sys.modules["__main__"]
    file, is_module = getattr(main, "__file__", None), getattr(main, "__spec__", None) is not None
    if file and not is_module and not os.path.exists(file):
        return "since this script was not read from a file, which other processes would have to read, too"
    if not file and b"__main__" in pickled:  # by whose name a class or a function is found again
        return "since the network, or a part of it, was defined in a session and not in a file; move it into a module"
    return ""


def _in_processes(problem: Problem, workers: int) -> list[Run]:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "problem.pt"
        torch.save(problem, file)
        context, chains = get_context("spawn"), len(problem.start)
        stop, futures = context.Event(), []
        begin = (stop, os.getpid(), torch.backends.mkldnn.matmul.fp32_precision)
        with ProcessPoolExecutor(workers, context, _begin_process, begin) as pool:
            try:
                for chain in range(chains):
                    futures.append(pool.submit(_run_chain, file, chain))
                pool.submit(int)  # a pool watches the processes that it knew at its last task: the last one, too
                for _ in track(_finished(futures, problem), "hmc", chains * problem.plan.draws):
                    pass
                return [future.result() for future in futures]
            except BaseException as error:
                stop.set()  # the others end after their present trajectory, which is kept
                died = isinstance(error, BrokenProcessPool)
                pool.shutdown(wait=died, cancel_futures=True)  # a broken pool has ended them: so that none holds a lock
                if died:
                    raise ChildProcessError(_died(problem, futures)) from error
                raise


def _died(problem: Problem, futures: Sequence[Future]) -> str:
    """What to say where a process ended and took the pool with it; it is not known which of them was the first."""
    whole = [k for k, f in enumerate(futures) if f.done() and not f.cancelled() and f.exception() is None]
    lost = [k for k in range(len(problem.start)) if k not in whole]
    told = f"inference.hmc: the process of a chain ended without a word, chain{'s' if len(lost) > 1 else ''} "
    told += f"{', '.join(map(str, lost))} of {len(problem.start)} not finished"
    if not any(problem.folder.glob("chains-*")):
        return told + ", none of them begun; does the script call hmc under `if __name__ == '__main__':`?"
    if problem.temporary:
        kept = "their draws are lost with the temporary folder: pass folder= to keep what is finished"
    else:
        kept = f"finished draws are kept in {problem.folder}: call again with the same arguments to go on"
    return f"{told}; {kept}. Where the system ended it for want of memory, processes=1 runs one chain after the other."


def flops(problem: Problem) -> float:
    """Operations of one chain's full-batch gradient: three times those of the way forward, counted on one image."""
    with FlopCounterMode(display=False) as count, torch.no_grad():
        problem.network(problem.data.images[:1])
    return 3.0 * len(problem.data) * count.get_total_flops()


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


def _begin_process(stop: Event, parent: int, product: str) -> None:
    """Settings of a chain's process: one thread, kept memory, products as in its parent, and an end when that ends."""
    from holdfast import machine

    global _stop
    _stop = stop
    torch.set_num_threads(1)
    torch.backends.mkldnn.matmul.fp32_precision = product
    machine.keep_freed_memory()
    machine.end_with_parent(parent)
