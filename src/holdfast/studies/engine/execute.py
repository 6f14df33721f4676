"""Execute: compute the cells of a study that are missing, each once, in as many processes as asked for.

joblib hands out the cells in rounds. A round offers every cell that is not finished, what is needed first; a worker
leaves a cell for the next round where something it needs is not finished, or another worker or machine is at it. The
scheduler carries names and settings only: results are read from the store and written to it. Each cell runs on one
thread, so that the number of processes does not change a single bit of what it finds.
"""

import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from holdfast.studies.engine.cell import Cell, in_order
from holdfast.studies.engine.store import NotFinished, Store

State = Literal["reused", "computed", "failed", "waiting"]
PAUSE = 0.2  # seconds between rounds in which nothing could be done, while others are at work
MEANT = (ValueError, TypeError, OSError, ArithmeticError, NotImplementedError, RuntimeError, LookupError)


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        cell: which.
        state: "reused", "computed", "failed", or "waiting" for something else.
        seconds: that its computation took.
        message: why it failed.
        details: the traceback of a failure.
    """

    cell: Cell
    state: State
    seconds: float = 0.0
    message: str = ""
    details: str = ""


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
    """
    from joblib import Parallel, delayed

    progress = _Progress(store, list(in_order(cells)), report)
    with Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="all", batch_size=1) as parallel:
        while left := progress.left():
            before = len(progress.ended)
            for outcome in parallel(delayed(attempt)(store, cell) for cell in left):
                progress.end(outcome)
            if len(progress.ended) == before:
                time.sleep(PAUSE)
    return progress.outcomes


class _Progress:
    """Which cells have ended, and how."""

    def __init__(self, store: Store, wanted: list[Cell], report: Callable[[Outcome, int, int], None]) -> None:
        self.store, self.wanted, self.report = store, wanted, report
        self.ended: dict[str, Outcome] = {}
        for cell in wanted:
            if store.has(cell):
                self.end(Outcome(cell, "reused", store.seconds(cell)))

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


def attempt(store: Store, cell: Cell) -> Outcome:
    """Compute one cell if that can be done now."""
    import torch

    if not all(store.has(need) for need in cell.needs.values()):
        return Outcome(cell, "waiting")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return Outcome(cell, "computed", store.compute(cell))
    except (BlockingIOError, NotFinished):
        return Outcome(cell, "waiting")  # for another process, or for a damaged need to be computed again
    except MEANT as error:
        message = f"{type(error).__name__}: {error}"
        return Outcome(cell, "failed", message=message, details=traceback.format_exc())
    finally:
        torch.set_num_threads(threads)
