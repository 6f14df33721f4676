"""An array of jobs of a real SLURM of one node: one job is killed, one cancelled, the node of one switched off and on.

Where SLURM does not start, submitit's local executor stands in for it, and the summary of the tests says so.
"""

import signal
import threading
import time
import warnings

import pytest
from one_node_slurm import NoSlurm, one_node
from sixty_cells import CELLS, check, finished, study

from holdfast.studies.engine import Cell, Store
from holdfast.studies.engine.execute import Retried
from holdfast.studies.engine.machines import slurm_workers

pytest.importorskip("submitit")
JOBS = 3
SOON = {"every": 0.3, "grace": 5.0}
LIMIT = 300  # seconds for anything to happen


@pytest.fixture(scope="module")
def slurm():
    """A node of SLURM, or why there is none."""
    with pytest.MonkeyPatch.context() as patch:
        try:
            with one_node() as node:
                for name, value in node.variables.items():
                    patch.setenv(name, value)
                yield node
        except NoSlurm as error:
            yield error


def wait_until(true):
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def test_an_array_of_jobs(tmp_path, slurm, say, undisturbed):
    """Three identical jobs that nobody disturbs."""
    store = Store(tmp_path)
    local = isinstance(slurm, NoSlurm)
    if local:
        say(f"submitit's local executor stood in for SLURM: {slurm}")
    slurm_workers(store, study(), count=JOBS, settings={"timeout_min": 5}, local=local, **SOON)
    check(store, study(), undisturbed)


def losses(told):
    return [str(w.message) for w in told if w.category is Retried]


def freeze(node, *numbers):
    """Stop what computes in jobs, once it has started: nothing is finished meanwhile, however long SLURM takes."""

    def frozen():
        started = node.computing().keys() >= set(numbers)
        node.send(signal.SIGSTOP, *numbers)
        return started

    wait_until(frozen)


def maltreat(node, path, happened, told):
    """Kill the process of the first job, cancel the second, take the node from the third and give it back."""
    queue = lambda form: node.ask("squeue", "--noheader", "--array", f"--format={form}").split()
    wait_until(lambda: finished(path) >= 5)
    freeze(node, 0, 1, 2)
    name = queue("%i")[0].split("_")[0]
    node.send(signal.SIGKILL, 0)
    happened.append("killed")
    wait_until(lambda: f"{name}_0" not in queue("%i"))
    node.send(signal.SIGCONT, 1, 2)
    wait_until(lambda: finished(path) >= 15)
    freeze(node, 1, 2)
    node.ask("scancel", "--signal=KILL", f"{name}_1")
    node.ask("scancel", f"{name}_1")
    wait_until(lambda: f"{name}_1" not in queue("%i"))
    happened.append("cancelled")
    node.power_off()
    wait_until(lambda: queue("%i %T") == [f"{name}_2", "PENDING"])
    happened.append(finished(path))
    wait_until(lambda: any(f"{name}_1 was lost" in loss for loss in losses(told)))  # while nobody can end the study
    node.power_on()
    wait_until(node.has_said_all)  # for which SLURM itself gives the job two minutes
    node.ask("scontrol", "update", f"jobid={name}_2", "starttime=now")


def test_an_array_of_jobs_that_are_lost(tmp_path, slurm, say, undisturbed_slow):
    if isinstance(slurm, NoSlurm):
        pytest.skip(str(slurm))
    say(
        "a SLURM of one node computed sixty cells; a job was killed, one cancelled, the node of one switched off and on"
    )
    wait_until(lambda: slurm.ask("squeue", "--noheader") == "" and not slurm.computing())  # of the test before
    cells = study(train=600, epochs=5)
    many, happened = Store(tmp_path), []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        hand = threading.Thread(target=maltreat, args=(slurm, many.path, happened, told))
        hand.start()
        try:
            slurm_workers(many, cells, count=JOBS, settings={"slurm_job_name": "cells"}, **SOON)
        finally:
            hand.join()
    assert happened[:2] == ["killed", "cancelled"]
    assert happened[2] < CELLS  # some were left when the node went
    for number in (0, 1):
        assert any(f"_{number} was lost: it is" in loss for loss in losses(told)), losses(told)
    check(many, cells, undisturbed_slow)
    wait_until(lambda: slurm.ask("squeue", "--noheader") == "")  # nothing waits there that nobody needs


def test_jobs_that_all_fail_say_why(tmp_path):
    """They are asked for what their holdfast does not know."""
    reason = r"all 2 jobs failed \(ValueError: studies: no kind of cell is called 'cook'.*; their logs are in"
    with pytest.warns(Retried, match="_?.* was lost"), pytest.raises(ChildProcessError, match=reason):
        slurm_workers(Store(tmp_path), [Cell("cook", {})], count=2, settings={}, local=True, **SOON)


def test_settings_that_slurm_does_not_have_are_refused(tmp_path):
    for wrong in ({"slurm_tiime": 3}, {"timeout_min": "12:00:00"}):
        with pytest.raises(ValueError, match=r"reproduce: --slurm: .*(tiime|timeout_min)"):
            slurm_workers(Store(tmp_path), study(), count=2, settings=wrong, local=True)
