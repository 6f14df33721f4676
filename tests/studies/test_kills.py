"""Processes that share a run folder are killed at random moments: nothing is lost, nothing half is ever seen.

`HOLDFAST_KILLS` says how many kills (`make fuzz`: 150); few by default.
"""

import json
import os
import subprocess
import sys

KILLS = int(os.environ.get("HOLDFAST_KILLS", "12"))

# Stands in a process of its own, without threads, so that it can fork workers within milliseconds.
SCRIPT = '''
import json
import multiprocessing
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

from holdfast.studies.codecs import TensorsCodec
from holdfast.studies.run_folder import RunFolder
from holdfast.studies.runs import leftovers, open_run, remove_leftovers, verify_run

home, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
STAGES, WORKERS = 20, 3
torch.set_num_threads(1)
warnings.simplefilter("ignore")


def value(number):
    noise = torch.Generator().manual_seed(number)
    return {"w": torch.randn(20_000, generator=noise)}, {"number": number}


def note(word, number):
    """One line of a log; short appends are whole or absent."""
    with open(home / "log", "a") as log:
        log.write(f"{word} {number}\\n")


def work(run, order):
    folder = RunFolder(run)
    for number in order:
        mine = []

        def compute():
            mine.append(number)
            note("begin", number)
            time.sleep(0.01)
            return value(number)

        tensors, facts = folder.stage(f"part{number % 3}/s{number}", {"n": number}, compute, TensorsCodec()).value
        for computed in mine:
            note("kept", computed)
        if facts != {"number": number} or not torch.equal(tensors["w"], value(number)[0]["w"]):
            note("wrong", number)


def moment():
    """Wait for some lines of the log, so that slow machines are killed at work too, and a little longer."""
    lines = lambda: (home / "log").read_bytes().count(b"\\n")
    wanted, latest = lines() + random.randrange(3), time.monotonic() + 1
    while lines() < wanted and time.monotonic() < latest:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.02))


random.seed(seed)
fork = multiprocessing.get_context("fork")
killed = rounds = 0
while killed < kills:
    run, rounds = home / f"run{rounds}", rounds + 1
    (home / "log").write_text("")
    here = torn = 0
    while not (run / "manifest.json").exists() or len(open_run(run).stages) < STAGES:
        order = random.sample(range(STAGES), STAGES)  # the same for all: they meet at every stage
        workers = [fork.Process(target=work, args=(run, order)) for _ in range(WORKERS)]
        for worker in workers:
            worker.start()
        for worker in workers if killed < kills else ():
            moment()
            if worker.is_alive():
                os.kill(worker.pid, signal.SIGKILL)
                killed, here = killed + 1, here + 1
            if (run / "manifest.json").exists():  # others are still at work: what has a record is whole
                torn += sum(state != "whole" for state in verify_run(open_run(run)).values())
        for worker in workers:
            worker.join()
    log = (home / "log").read_text().split("\\n")
    begun = [int(line.split()[1]) for line in log if line.startswith("begin")]
    found = open_run(run)
    whole = sum(state == "whole" for state in verify_run(found).values())
    remove_leftovers(found)
    left = len(list(leftovers(open_run(run))))
    wrong = sum(line.startswith("wrong") for line in log)
    kept = [line for line in log if line.startswith("kept")]
    twice, again, computed = len(kept) - len(set(kept)), len(begun) - STAGES, len(set(begun))
    found = dict(kills=here, whole=whole, left=left, wrong=wrong, torn=torn, twice=twice)
    print(json.dumps(found | dict(again=again, computed=computed)))
'''


def test_stages_survive_kills(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(KILLS), "7"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    kills, again = (sum(r[name] for r in rounds) for name in ("kills", "again"))
    print(f"{kills} kills over {len(rounds)} runs of 20 stages: {again} stages in flight computed again")
    for r in rounds:
        assert (r["whole"], r["computed"]) == (20, 20)  # nothing lost
        assert (r["wrong"], r["torn"], r["left"]) == (0, 0, 0)  # nothing half is seen, and halves can be swept away
        assert r["twice"] == 0  # what one process has kept no other computes
        assert r["again"] <= r["kills"]  # a kill costs the stage in flight at most
    assert kills >= KILLS
    assert again > 0 or KILLS < 100  # of many some do hit a stage in flight
