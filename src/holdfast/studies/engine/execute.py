"""Execute: compute the cells of a study that are missing, each once, in as many processes as asked for.

joblib hands out the cells in rounds. A round offers every cell that is not finished, what is needed first; a worker
leaves a cell for the next round where something it needs is not finished, or another worker or machine is at it. The
scheduler carries names and settings only: results are read from the store and written to it. Each cell runs on one
thread, so that the number of processes does not change a single bit of what it finds.

A worker that dies takes the cell in flight with it and nothing else: the round ends, and the next one offers again
what is left. So it is with a scheduler that goes away, or a network that is cut.
"""

import errno
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from holdfast.machine import end_with_parent
from holdfast.studies.engine.cell import Cell, in_order
from holdfast.studies.engine.store import NotFinished, Store

State = Literal["reused", "computed", "failed", "waiting"]
PAUSES = (0.2, 5.0)  # seconds between rounds in which nothing was finished: the first, and the longest
IDLE = 3600  # seconds that a worker may wait for the others' cells
PATIENCE = 8  # broken rounds without a cell finished, before the study is given up


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        cell: which.
        state: "reused", "computed", "failed", or "waiting" for something else.
        seconds: that its computation took.
        begun: how many times it was begun; more than once where the process that computed it was lost.
        message: why it failed.
        details: the traceback of a failure.
    """

    cell: Cell
    state: State
    seconds: float = 0.0
    begun: int = 1
    message: str = ""
    details: str = ""


class Retried(UserWarning):
    """Workers were lost; what they were computing is offered again."""


class DiskFull(OSError):
    """The disk of the run folder has no room: no cell can be finished, and none is to blame."""


def execute(
    store: Store,
    cells: Iterable[Cell],
    *,
    jobs: int = 1,
    report: Callable[[Outcome, int, int], None] = lambda outcome, done, total: None,
) -> list[Outcome]:
    """Compute cells and all that they need; what is in the store is left as it is.

    Args:
        store: where results are read and written.
        cells: what is wanted.
        jobs: processes; with 1 everything runs in this one. -1 for all cores. Within
            `joblib.parallel_config(backend=...)` they are that backend's workers.
        report: called as each cell ends, with the number of cells that have ended and of all.

    Returns:
        The outcome of every cell. A cell that needs a failed one has failed too; all others are finished.

    Raises:
        ChildProcessError: workers were lost again and again and nothing was finished in between.
        DiskFull: (an OSError) there is no room for results; what is finished is kept.
    """
    progress = _Progress(store, list(in_order(cells)), report)
    idle = broken = 0
    while left := progress.left():
        before, outcomes = len(progress.ended), _round(store, left, jobs)
        while True:
            try:
                outcome = next(outcomes)
            except StopIteration:
                break
            except DiskFull:
                raise
            except Exception as error:  # the workers' or the scheduler's: `attempt` hands over what cells raise
                broken = broken + 1 if len(progress.ended) == before else 0
                _say(error, len(progress.left()), broken)
                break
            progress.end(outcome)
        idle = idle + 1 if len(progress.ended) == before else 0
        if idle:
            time.sleep(min(PAUSES[0] * 2 ** (idle - 1), PAUSES[1]))
    return progress.outcomes


def attempt(store: Store, cell: Cell) -> Outcome:
    """Compute one cell if that can be done now."""
    import torch

    if not all(store.has(need) for need in cell.needs.values()):
        return Outcome(cell, "waiting")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        store.compute(cell)
        return _there("computed", store, cell)
    except (BlockingIOError, NotFinished):
        return Outcome(cell, "waiting")  # for another process, or for a damaged need to be computed again
    except Exception as error:  # whatever it is, other cells can go on
        if _for_want_of_room(error):
            raise DiskFull(
                f"the disk of {store.path} is full ({str(error)[:200]}); what is finished is kept. "
                "Free some room, then give the same command again."
            ) from None
        message = f"{type(error).__name__}: {error}"
        return Outcome(cell, "failed", message=message, details=traceback.format_exc())
    finally:
        torch.set_num_threads(threads)


def _there(state: State, store: Store, cell: Cell) -> Outcome:
    record = store.record(cell)
    return Outcome(cell, state, record["seconds"], record.get("begun", 1))


def _for_want_of_room(error: Exception) -> bool:
    """Whether a disk or a quota is full; what writes safetensors and Parquet says so in its words only."""
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or any(os.strerror(number) in str(error) for number in full)


def _round(store: Store, left: list[Cell], jobs: int) -> Iterator[Outcome]:
    """Offer every cell once. Where the backend can, outcomes come as they are there, else at the end of the round."""
    from joblib import Parallel, delayed
    from joblib.parallel import LokyBackend, get_active_backend

    settings: dict[str, Any] = {"n_jobs": jobs, "pre_dispatch": "all", "batch_size": 1}
    backend = get_active_backend()[0]
    if getattr(backend, "supports_return_generator", False):
        settings["return_as"] = "generator_unordered"
    if isinstance(backend, LokyBackend) and jobs != 1:
        settings |= {"initializer": end_with_parent, "initargs": (os.getpid(),), "idle_worker_timeout": IDLE}
    yield from Parallel(**settings)(delayed(attempt)(store, cell) for cell in left)


def _say(error: Exception, left: int, broken: int) -> None:
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
    if broken > PATIENCE:
        raise ChildProcessError(
            f"workers were lost {broken} times and nothing was finished in between ({reason}); {left} cells are left. "
            "Where they run out of memory, ask for fewer jobs, or for less with --memory."
        ) from error
    warnings.warn(f"workers were lost ({reason}); {left} cells are offered again.", Retried, stacklevel=3)


class _Progress:
    """Which cells have ended, and how."""

    def __init__(self, store: Store, wanted: list[Cell], report: Callable[[Outcome, int, int], None]) -> None:
        self.store, self.wanted, self.report = store, wanted, report
        self.ended: dict[str, Outcome] = {}
        for cell in wanted:
            if store.has(cell):
                self.end(_there("reused", store, cell))

    def end(self, outcome: Outcome) -> None:
        if outcome.state != "waiting":
            self.ended[outcome.cell.key] = outcome
            self.report(outcome, len(self.ended), len(self.wanted))

    def left(self) -> list[Cell]:
        """What the next round offers, after what cannot be computed any more has failed."""
        for outcome in list(self.ended.values()):
            if outcome.state != "failed" and not self.store.has(outcome.cell):  # found damaged meanwhile
                del self.ended[outcome.cell.key]
        for cell in self.wanted:
            broken = [n for n in cell.needs.values() if self._failed(n)]
            if broken and cell.key not in self.ended:
                self.end(Outcome(cell, "failed", message=f"it needs {broken[0].name}, which failed"))
        return [c for c in self.wanted if c.key not in self.ended]

    def _failed(self, cell: Cell) -> bool:
        return cell.key in self.ended and self.ended[cell.key].state == "failed"

    @property
    def outcomes(self) -> list[Outcome]:
        return [self.ended[cell.key] for cell in self.wanted]
