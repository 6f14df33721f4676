"""Runs in a process of their own that are killed in the middle of a trajectory."""

import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import sys
sys.path[:0] = {path!r}
from {module} import run
from holdfast.inference.hmc import kernel
import time
inner = kernel.trajectory
def slow(*arguments, **options):
    time.sleep(0.15)  # so that the signal comes in the middle of a trajectory
    return inner(*arguments, **options)
kernel.trajectory = slow
run({folder!r})
"""


def files_of(folder):
    """Checkpoints and their bytes."""
    return {f.relative_to(folder): f.read_bytes() for f in folder.rglob("*.safetensors")}


def check_that_it_goes_on(module, run, same, whole, folder, until):
    """Kill `module.run(folder)` once a file `until` is there; called again it must end as `whole`, (result, folder)."""
    all_draws = sum("draw" in str(f) for f in files_of(whole[1]))
    here = Path(__file__).parent
    script = SCRIPT.format(module=module, path=[str(here), str(here.parent)], folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", script])
    deadline = time.monotonic() + 60
    while not list(folder.rglob(until)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(folder.rglob(until))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    done = files_of(folder)
    drawn = sum("draw" in str(f) for f in done)
    assert 0 < drawn < all_draws if until.startswith("draw") else drawn == 0
    same(run(folder), whole[0])
    after = files_of(folder)
    assert after == files_of(whole[1])
    assert all(after[f] == content for f, content in done.items() if "draw" in str(f))
