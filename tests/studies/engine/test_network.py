"""The network between a worker and the scheduler is cut and mended, in network namespaces of the test's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sixty_cells import check, study

from holdfast.studies.engine import Store

pytest.importorskip("distributed")
UNSHARED = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
# A connection counts as dead after 12 seconds, the least that Dask takes.
FAST = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "60s",
}

# A namespace for the scheduler, two workers and who asks; another one, `far`, for the third worker; a cable between.
CABLE = """
set -e
mount -t tmpfs none /run && mkdir -p /run/netns
ip link set lo up
ip netns add far
ip link add near type veth peer name away netns far
ip address add 10.77.0.1/24 dev near && ip link set near up
ip -n far address add 10.77.0.2/24 dev away && ip -n far link set away up && ip -n far link set lo up
"""
SCRIPT = """
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

from sixty_cells import finished, study

from holdfast.studies.engine import Context, Store, execute
from holdfast.studies.engine.execute import Retried
from holdfast.studies.engine.machines import dask_workers

folder, told = Path(sys.argv[1]), []
address = "tcp://10.77.0.1:8786"
store = Store(folder / "many", Context(patience=3.0))
warnings.simplefilter("always")
warnings.showwarning = lambda message, category, *_: told.append([category.__name__, str(message)])


def start(stack, name, *command):
    log = stack.enter_context((folder / f"{name}.log").open("w"))
    process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
    stack.callback(lambda: (os.killpg(process.pid, signal.SIGTERM), process.wait()))


def wait_until(true):
    latest = time.monotonic() + 100
    while not true() and time.monotonic() < latest:
        time.sleep(0.02)


def cut():
    wait_until(lambda: finished(store.path) >= 10)
    subprocess.run(["ip", "link", "set", "near", "down"], check=True)
    at = finished(store.path)
    wait_until(lambda: any("was lost" in message for _, message in told))
    subprocess.run(["ip", "link", "set", "near", "up"], check=True)
    cuts.append(at)


cuts, python = [], sys.executable
worker = [python, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
worker += ["--death-timeout", "60", "--local-directory", str(folder / "work")]
with ExitStack() as stack:
    scheduler = ["-m", "distributed.cli.dask_scheduler", "--host", "10.77.0.1", "--port", "8786", "--no-dashboard"]
    start(stack, "scheduler", python, *scheduler)
    for number in range(2):
        start(stack, f"near-{number}", *worker, "--host", "10.77.0.1")
    again = ["sh", "-c", 'while :; do "$@"; sleep 1; done', "sh"]  # a worker that is cut off ends
    start(stack, "far", "ip", "netns", "exec", "far", *again, *worker, "--host", "10.77.0.2")
    with dask_workers(address):
        from distributed import get_client

        client = get_client()
        client.wait_for_workers(3, timeout=60)
        hand = threading.Thread(target=cut)
        hand.start()
        outcomes = execute(store, study(train=600, epochs=5))
        hand.join()
        wait_until(lambda: len(client.scheduler_info(n_workers=-1)["workers"]) == 3)  # the one cut off is back
        back = len(client.scheduler_info(n_workers=-1)["workers"])
    states = sorted({outcome.state for outcome in outcomes})
print(json.dumps({"states": states, "cuts": cuts, "told": told, "workers": back}))
"""


@pytest.fixture
def cable(tmp_path):
    """A command that lays the cable, or a reason why none can be laid here."""
    file = tmp_path / "cable"
    file.write_text(CABLE)
    try:
        done = subprocess.run([*UNSHARED, "sh", file], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "no unshare here (package util-linux)"
    return done.stderr.strip().splitlines()[-1] if done.returncode else f'. {file}; exec "$0" "$@"'


def test_a_cable_that_is_cut(tmp_path, cable, undisturbed_slow, say):
    if not cable.startswith("."):
        say(f"no network was cut: network namespaces are not allowed here ({cable})")
        pytest.skip(f"network namespaces: {cable}")
    say("the network between a worker and the Dask scheduler was cut and mended")
    here = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | FAST | {"OMP_NUM_THREADS": "1", "PYTHONPATH": here}
    command = ["timeout", "400", *UNSHARED, "sh", "-c", cable, sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["states"] == ["computed"]
    assert found["cuts"][0] < 60  # cells were left when the cable was cut
    assert found["workers"] == 3
    lost = [message for kind, message in found["told"] if kind == "Retried"]
    assert any(message.startswith("worker tcp://10.77.0.2:") and "was lost" in message for message in lost)
    check(Store(tmp_path / "many"), study(train=600, epochs=5), undisturbed_slow)
