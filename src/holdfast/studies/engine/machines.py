"""Machines: workers beyond this one's cores. Whoever computes cells needs the same holdfast and the same run folder.

    dask_workers(address)      the workers of a Dask cluster, by joblib's Dask backend
    slurm_workers(store, ...)  identical jobs of a SLURM array, by submitit; each takes the cells that nobody is at

Neither has a queue of ours: cells are locked in the store, so that any number of workers, started by anybody, can be at
one study.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from holdfast.studies.engine.cell import Cell
from holdfast.studies.engine.execute import execute
from holdfast.studies.engine.store import Store

SECONDS = 60.0  # to wait for a scheduler


@contextmanager
def dask_workers(address: str, *, seconds: float = SECONDS) -> Iterator[None]:
    """Within this, `execute` hands its cells to the cluster whose scheduler listens at `address` ("tcp://host:8786").

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
    with client, parallel_config(backend="dask", client=client):
        yield


def slurm_workers(
    store: Store, cells: Sequence[Cell], *, count: int, settings: Mapping[str, str | int], local: bool = False
) -> None:
    """Compute cells by a SLURM array of `count` identical jobs, and wait for them.

    Args:
        store: in a folder that the nodes share.
        cells: what is wanted.
        count: jobs of the array.
        settings: what submitit takes, such as `{"slurm_partition": "gpu", "timeout_min": 240}`.
        local: processes on this machine instead, by submitit's local executor.

    Raises:
        ImportError: without submitit.
        RuntimeError: there is no SLURM here, or jobs failed; the message says where their logs are.
    """
    try:
        import submitit
    except ImportError:
        raise ImportError("reproduce: --slurm needs submitit: pip install 'holdfast[cluster]'.") from None
    logs = store.path / "slurm"
    executor = submitit.AutoExecutor(folder=logs, cluster="local" if local else "slurm")
    executor.update_parameters(**{"timeout_min": 24 * 60, **settings})
    with executor.batch():
        jobs = [executor.submit(work, store, list(cells)) for _ in range(count)]
    errors = [error for error in (job.exception() for job in jobs) if error is not None]
    if len(errors) == len(jobs):
        raise RuntimeError(f"reproduce: all {count} jobs failed ({errors[0]}); their logs are in {logs}.")


def work(store: Store, cells: list[Cell]) -> int:
    """One worker: compute what nobody else is at until everything has ended; how many cells have failed."""
    return sum(outcome.state == "failed" for outcome in execute(store, cells, jobs=1))
