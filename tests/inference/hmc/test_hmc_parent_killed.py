"""The process that asked for the chains is killed: theirs end with it, nobody holds a lock, and nothing is lost."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_hmc_checkpoints import run, same

from holdfast.inference.hmc import processes

SCRIPT = """
import sys
sys.path[:0] = {path!r}
from test_hmc_checkpoints import run
from holdfast.inference.hmc import processes

if __name__ == "__main__":
    processes.STACKED_CPU = 0.0  # a process for each chain
    run({folder!r}, draws=100_000)  # never ends
"""


def wait_for(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert what()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux ends processes with their parent")
def test_chains_end_with_the_process_that_asked_for_them(tmp_path, monkeypatch):
    folder, here = tmp_path / "run", Path(__file__).parent
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(path=[str(here), str(here.parent)], folder=str(folder)))
    parent = subprocess.Popen([sys.executable, script])
    wait_for(lambda: all(any(folder.glob(f"chains-0{k}/draw-00003*")) for k in (0, 1)) or parent.poll() is not None)
    chains = [p for p in psutil.Process(parent.pid).children() if "spawn_main" in " ".join(p.cmdline())]
    assert len(chains) == 2
    parent.send_signal(signal.SIGKILL)
    assert parent.wait() == -signal.SIGKILL
    gone, alive = psutil.wait_procs(chains, timeout=30)
    assert (len(gone), alive) == (2, [])
    finished = {f: f.stat().st_mtime_ns for f in folder.rglob("draw-*")}
    assert len(finished) > 6
    monkeypatch.setattr(processes, "STACKED_CPU", 0.0)
    same(run(folder, draws=4, processes=1), run(None, draws=4, processes=1))
    assert {f: f.stat().st_mtime_ns for f in finished} == finished
