"""Machines: workers beyond this one's cores. Whoever computes cells needs the same holdfast and the same run folder.

    dask_workers(address)      the workers of a Dask cluster, by joblib's Dask backend
    slurm_workers(store, ...)  identical jobs of a SLURM array, by submitit; each takes the cells that nobody is at

Neither has a queue of ours: cells are locked in the store, so that any number of workers, started by anybody, can be at
one study.
"""

import os
import re
import subprocess
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.studies.engine.cell import Cell
from holdfast.studies.engine.execute import Retried, execute
from holdfast.studies.engine.store import Store

if TYPE_CHECKING:
    import submitit

SECONDS = 60.0  # to wait for a scheduler
EVERY = 10.0  # seconds between two questions to SLURM
GRACE = 30.0  # seconds until a job that is over without a result is lost: SLURM may begin it again
GONE = "gone from the queue"
OVER = {GONE, "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}


@contextmanager
def dask_workers(address: str, *, seconds: float = SECONDS) -> Iterator[None]:
    """Within this, `execute` hands its cells to the cluster whose scheduler listens at `address` ("tcp://host:8786").

    Workers that the scheduler loses are warned of: killed, frozen, or cut off from the network.

    Args:
        address: of the scheduler.
        seconds: to wait for its answer.

    Raises:
        ImportError: without Dask.
        OSError: nobody listens there.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("reproduce: --cluster needs Dask: pip install 'holdfast[cluster]'.") from None
    from joblib import parallel_config

    try:
        client = Client(address, timeout=seconds)
    except (OSError, ValueError) as error:
        raise OSError(f"reproduce: no Dask scheduler answers at {address!r} ({error}).") from None
    client.subscribe_topic("all", _tell_of_lost_workers)
    with client, parallel_config(backend="dask", client=client):
        yield


def _tell_of_lost_workers(event: tuple[float, Any]) -> None:
    """Warn where the scheduler says that a worker is gone that it did not expect to go."""
    _, said = event
    if isinstance(said, dict) and said.get("action") == "remove-worker" and not said.get("expected"):
        count = len(said.get("processing-tasks", ()))
        cells = f"{count} cell{'s' * (count != 1)}"
        text = f"worker {said.get('worker')} was lost; the others take {cells} offered to it."
        warnings.warn(text, Retried, stacklevel=2)


def slurm_workers(
    store: Store,
    cells: Sequence[Cell],
    *,
    count: int,
    settings: Mapping[str, str | int],
    local: bool = False,
    every: float = EVERY,
    grace: float = GRACE,
) -> None:
    """Compute cells by a SLURM array of `count` identical jobs, and wait until one of them has seen all cells end.

    Jobs that are lost (cancelled, killed, out of time) leave what they were at to the others, with a warning. A job
    that SLURM puts back into its queue, because its node went down, is waited for while it is needed. Jobs that are
    still in the queue at the end are cancelled.

    Args:
        store: in a folder that the nodes share.
        cells: what is wanted.
        count: jobs of the array.
        settings: what submitit takes, such as `{"slurm_partition": "gpu", "timeout_min": 240}`.
        local: processes on this machine instead, by submitit's local executor.
        every: seconds between two questions to SLURM.
        grace: seconds until a job that is over without a result counts as lost.

    Raises:
        ImportError: without submitit.
        ValueError: a setting that is none.
        ChildProcessError: SLURM does not take the jobs, or all were lost; the message says where their logs are.
    """
    if store.bucket:
        raise ValueError(f"reproduce: --slurm needs a run folder on a disk that the nodes share, got {store.bucket}.")
    try:
        import submitit
    except ImportError:
        raise ImportError("reproduce: --slurm needs submitit: pip install 'holdfast[cluster]'.") from None
    logs = store.path / "slurm"
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster="local" if local else "slurm")
    except RuntimeError as error:
        raise ChildProcessError(f"reproduce: --slurm: {error}") from None
    try:
        executor.update_parameters(**{"timeout_min": 24 * 60, **settings})
    except (NameError, AssertionError, ValueError) as error:  # submitit's words for a name or a value that is none
        raise ValueError(f"reproduce: --slurm: {error}") from None
    try:
        with executor.batch():
            jobs = [executor.submit(work, store, list(cells)) for _ in range(count)]
    except submitit.core.utils.FailedJobError as error:
        raise ChildProcessError(f"reproduce: SLURM does not take the jobs: {str(error).strip()[-300:]}") from None
    try:
        lost = _wait(jobs, logs, every, grace)
    finally:
        _cancel(jobs)
    if len(lost) == count:
        reason = next(iter(lost.values()))
        raise ChildProcessError(f"reproduce: all {count} jobs failed ({reason}); their logs are in {logs}.")


def work(store: Store, cells: list[Cell]) -> int:
    """One worker: compute what nobody else is at until everything has ended; how many cells have failed."""
    return sum(outcome.state == "failed" for outcome in execute(store, cells, jobs=1))


def _wait(jobs: "Sequence[submitit.Job[int]]", logs: Path, every: float, grace: float) -> dict[str, str]:
    """Until a job has seen every cell finished, or all jobs have ended; why jobs were lost, by their ids.

    What submitit says of a job's state is SLURM's accounting, which many clusters do not have. The queue they all have.
    """
    lost: dict[str, str] = {}
    ended: set[str] = set()
    since: dict[str, float] = {}  # when a job was first seen to be over
    while True:
        states = _states(jobs)  # before the files: a job that ends meanwhile is seen in one of them
        files = set(os.listdir(logs))  # a listing is fresh on network file systems, where asking for one file is not
        for name, job in ((job.job_id, job) for job in jobs if job.job_id not in ended):
            state = "RUNNING" if states is None else states.get(name, GONE)
            if job.paths.result_pickle.name in files:
                error = job.exception()
                if error is None and job.result() == 0:
                    return lost
                ended.add(name)
                if error is not None:
                    _note(lost, name, _last_line(error))
            elif state not in OVER:
                since.pop(name, None)
                lost.pop(name, None)
            elif time.monotonic() - since.setdefault(name, time.monotonic()) > grace:
                _note(lost, name, f"it is {state.lower().replace('_', ' ')}, without a result")
        if len(ended | lost.keys()) == len(jobs):
            return lost
        time.sleep(every)


def _states(jobs: "Sequence[submitit.Job[int]]") -> dict[str, str] | None:
    """What the queue knows of jobs, by their ids; None while SLURM does not answer."""
    from submitit import LocalJob

    if isinstance(jobs[0], LocalJob):
        return {job.job_id: "COMPLETED" if job.done() else "RUNNING" for job in jobs}
    command = ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i %T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return {job: state for job, _, state in (line.strip().partition(" ") for line in answer.stdout.splitlines())}


def _cancel(jobs: "Sequence[submitit.Job[int]]") -> None:
    """Take what is still in the queue out of it: nobody needs it any more."""
    from submitit import LocalJob

    states = _states(jobs)
    for job in jobs:
        if states is None or states.get(job.job_id, GONE) not in OVER:
            job.cancel(check=False)
        if isinstance(job, LocalJob):
            job.wait()


def _note(lost: dict[str, str], job: str, reason: str) -> None:
    if job not in lost:
        lost[job] = reason
        warnings.warn(f"job {job} was lost: {reason}; the others take the cell that it was at.", Retried, stacklevel=4)


def _last_line(error: Exception) -> str:
    """What a job raised: the last line of the traceback that submitit puts between two lines of dashes."""
    parts = re.split(r"(?m)^-{10,}$", str(error))
    return (parts[1] if len(parts) > 1 else parts[0]).strip().splitlines()[-1][:200]
