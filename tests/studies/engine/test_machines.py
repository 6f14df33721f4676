"""Many machines, played by processes on the loopback: Dask workers that are killed and frozen."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import psutil
import pytest
from sixty_cells import check, finished, study

from holdfast.studies.engine import Context, Store, execute
from holdfast.studies.engine.execute import Retried
from holdfast.studies.engine.machines import dask_workers

FAST = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "60s"}
PATIENCE = 3.0


@contextmanager
def processes(*commands):
    environment = os.environ | FAST | {"OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    started = [subprocess.Popen([sys.executable, "-m", *command], **quiet) for command in commands]
    try:
        yield started
    finally:
        for process in started:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@pytest.mark.filterwarnings("ignore")  # Dask's, about what is done to it here
def test_a_cluster_that_is_maltreated(tmp_path, undisturbed):
    """A scheduler and three workers: one worker killed at work, one frozen, then the scheduler, and a new one comes."""
    pytest.importorskip("distributed")
    port = str(18786 + os.getpid() % 1000)
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    worker = ["distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--no-nanny"]
    worker += ["--no-dashboard", "--local-directory", str(tmp_path / "work")]
    store = Store(tmp_path / "many", Context(patience=PATIENCE))

    def wait_for(count):
        while finished(store.path) < count:
            time.sleep(0.02)

    with ExitStack() as stack:
        (first,) = stack.enter_context(processes(scheduler))
        killed, frozen, _ = stack.enter_context(processes(worker, worker, worker))

        def maltreat():
            wait_for(5)
            killed.kill()
            wait_for(15)
            frozen.send_signal(signal.SIGSTOP)
            wait_for(30)
            first.kill()
            first.wait()
            stack.enter_context(processes(scheduler, worker, worker))

        with dask_workers(f"tcp://127.0.0.1:{port}"):
            hand = threading.Thread(target=maltreat)
            hand.start()
            outcomes = execute(store, study())
            hand.join()
    assert {o.state for o in outcomes} == {"computed"}
    check(store, study(), undisturbed)


def test_eight_processes_find_what_one_finds(tmp_path, undisturbed):
    store = Store(tmp_path)
    assert {o.state for o in execute(store, study(), jobs=8)} == {"computed"}
    check(store, study(), undisturbed)


def test_workers_of_joblib_that_are_killed(tmp_path, undisturbed):
    """Its worker processes are killed one after the other while they compute."""
    store, done = Store(tmp_path), threading.Event()

    def kill_now_and_then():
        for count in (6, 30):
            while finished(tmp_path) < count:
                if done.wait(0.02):
                    return
            children = psutil.Process().children(recursive=True)
            next(child for child in children if "popen_loky_posix" in " ".join(child.cmdline())).kill()

    hand = threading.Thread(target=kill_now_and_then)
    hand.start()
    try:
        with pytest.warns(Retried, match=r"workers were lost .*; [0-9]+ cells are offered again"):
            execute(store, study(), jobs=2)
    finally:
        done.set()
        hand.join()
    check(store, study(), undisturbed)


def test_nobody_listens(tmp_path):
    pytest.importorskip("distributed")
    with (
        pytest.raises(OSError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:9'"),
        dask_workers("tcp://127.0.0.1:9", seconds=1),
    ):
        pass
