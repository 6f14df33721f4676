"""Executing cells: each once, whatever the number of processes, and what happens when something breaks."""

import multiprocessing
import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from sixty_cells import finished

from holdfast.machine import total_memory
from holdfast.studies.codecs import JsonCodec
from holdfast.studies.engine import Cell, Context, Store, execute
from holdfast.studies.engine.store import NotFinished

DATA = {"data": "fashion-mini", "train": 60}
NETWORK = {"name": "fc2", "width": 4}


def fit(seed=0, epochs=1, **more):
    how = {"function": "holdfast.inference.sgd", "training": {"epochs": epochs}, **more}
    return Cell("fit", DATA | {"network": NETWORK, "fit": how, "seed": seed})


def attack(ensemble, epsilon=0.1):
    how = {"function": "holdfast.attacks.fgsm", "budget": {"norm": "linf", "epsilons": epsilon}}
    return Cell("attack", {"data": "fashion-mini", "points": 10, "attack": how, "seed": 0}, {"ensemble": ensemble})


def judged(seed):
    base = fit(seed)
    return Cell("predictions", {"data": "fashion-mini", "points": 10}, {"ensemble": base, "attack": attack(base)})


def states(outcomes):
    return [o.state for o in outcomes]


def test_what_is_there_is_reused(tmp_path):
    store = Store(tmp_path)
    first = execute(store, [judged(0)])
    assert states(first) == ["computed"] * 3
    assert states(execute(store, [judged(0)])) == ["reused"] * 3
    assert [o.seconds for o in execute(store, [judged(0)])] == [o.seconds for o in first]


def test_one_process_and_three_give_the_same_bytes(tmp_path):
    cells = [judged(seed) for seed in range(4)]
    outcomes = [execute(Store(tmp_path / str(jobs)), cells, jobs=jobs) for jobs in (1, 3)]
    assert all(states(o) == ["computed"] * 12 for o in outcomes)
    for cell in cells:
        one, three = (Store(tmp_path / str(jobs)).read(cell) for jobs in (1, 3))
        assert one.equals(three)
    files = [sorted(p.name for p in (tmp_path / n / "cells").rglob("*.safetensors")) for n in ("1", "3")]
    assert files[0] == files[1]
    assert len(files[0]) == 8


def test_failures_stop_what_needs_them_and_nothing_else(tmp_path):
    bad = fit(0, learning_rate="fast")
    outcomes = execute(Store(tmp_path), [attack(bad), judged(1)])
    assert states(outcomes) == ["failed", "failed", "computed", "computed", "computed"]
    assert "takes no learning_rate" in outcomes[0].message
    assert "Traceback" in outcomes[0].details
    assert outcomes[1].message == f"it needs {bad.name}, which failed"


def test_damage_is_found_and_computed_again(tmp_path):
    store, cell = Store(tmp_path), judged(0)
    execute(store, [cell])
    (file,) = (tmp_path / "cells" / "fit").glob("*.safetensors")
    right = file.read_bytes()
    file.write_bytes(right[:-8])
    for done in (tmp_path / "cells" / "predictions").glob("*.json"):
        done.unlink()
    assert sorted(states(execute(store, [cell]))) == ["computed", "computed", "reused"]
    assert file.read_bytes() == right
    file.write_bytes(b"")
    with pytest.raises(NotFinished, match="execute the study again"):
        store.read(cell.needs["ensemble"])


def test_a_share_of_memory_is_worked_out_where_cells_are_computed(tmp_path, monkeypatch):
    alone = Context(share="60%").here()
    assert alone.share is None
    assert 0 < alone.memory < total_memory()
    limits = SimpleNamespace(memory_limit=total_memory() / 4)  # as Dask gives to each of four workers
    monkeypatch.setitem(
        sys.modules, "distributed", SimpleNamespace(get_worker=lambda: SimpleNamespace(memory_manager=limits))
    )
    assert Context(share="60%").here().memory < alone.memory / 3
    (outcome,) = execute(Store(tmp_path, Context(share="1MB")), [fit()])
    assert outcome.state == "failed"
    assert "memory: 1MB is 250,000 bytes for each of 4 processes" in outcome.message


def test_what_is_begun_again_is_told(tmp_path):
    """A process ends in the middle of a cell, as one that is killed does, without a word."""
    store, cell = Store(tmp_path), fit()
    process = multiprocessing.get_context("fork").Process(target=die_at_work, args=(store, cell))
    process.start()
    process.join()
    (outcome,) = execute(store, [cell])
    assert (outcome.state, outcome.begun) == ("computed", 2)
    (outcome,) = execute(store, [cell])
    assert (outcome.state, outcome.begun) == ("reused", 2)


def die_at_work(store, cell):
    store.folder.stage(f"cells/{cell.name}", cell.described, lambda: os._exit(1), JsonCodec(), cell.rooms)


def test_the_number_of_threads_is_left_as_it_was(tmp_path):
    torch.set_num_threads(2)
    try:
        execute(Store(tmp_path), [fit()])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_cell_of_another_version_is_not_computed(tmp_path):
    cell = fit()
    object.__setattr__(cell, "key", "0" * 64)
    (outcome,) = execute(Store(tmp_path), [cell])
    assert outcome.state == "failed"
    assert "planned by another version of holdfast" in outcome.message


def run_for_ever(folder):
    execute(Store(folder, Context()), [judged(seed) for seed in range(60)])


def test_killed_and_started_again(tmp_path):
    """Ten kills at moments of all kinds; the end is that of a run nobody disturbed."""
    context = multiprocessing.get_context("fork")
    moments = torch.Generator().manual_seed(0)
    for _ in range(10):
        process = context.Process(target=run_for_ever, args=(tmp_path / "killed",))
        process.start()
        before, latest = finished(tmp_path / "killed"), time.monotonic() + 60
        while finished(tmp_path / "killed") == before and time.monotonic() < latest:
            time.sleep(0.01)
        time.sleep(0.1 * float(torch.rand(1, generator=moments)))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    cells = [judged(seed) for seed in range(12)]
    after = execute(Store(tmp_path / "killed"), cells)
    assert "reused" in states(after)
    assert set(states(after)) <= {"reused", "computed"}
    execute(Store(tmp_path / "whole"), cells)
    for cell in cells:
        assert Store(tmp_path / "killed").read(cell).equals(Store(tmp_path / "whole").read(cell))
