"""The disk of the run folder fills up: one clear error, nothing half is seen, and there is room again it goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sixty_cells import check, study

from holdfast.studies.engine import Store

UNSHARED = ["unshare", "--user", "--map-root-user", "--mount"]
MOUNT = 'mount -t tmpfs -o size=2m,mode=755 none "$1" && shift && exec "$@"'
SCRIPT = """
import json
import shutil
import sys
import time
from pathlib import Path

from sixty_cells import finished, study

from holdfast.studies.engine import Store, execute
from holdfast.studies.engine.execute import DiskFull
from holdfast.studies.runs import leftovers, open_run, remove_leftovers, verify_run

disk, jobs, found = Path(sys.argv[1]), int(sys.argv[2]), []
store = Store(disk / "run")


def halves(run):
    return [str(file) for file in leftovers(run) if file.suffix == ".partial" and ".begun" not in file.name]


ballast = disk / "ballast"
for taken in (1400 << 10, 1000 << 10):
    ballast.write_bytes(bytes(taken))
    error = None
    try:
        execute(store, study(), jobs=jobs)
    except DiskFull as full:
        error = str(full)
    run = open_run(store.path)
    states = sorted(set(verify_run(run).values()))
    patience = time.monotonic() + 30
    while jobs > 1 and halves(run) and time.monotonic() < patience:  # the other worker is at its last cell
        remove_leftovers(run)
        time.sleep(0.1)
    found.append({"error": error, "finished": finished(store.path), "states": states, "halves": halves(run)})
ballast.unlink()
outcomes = execute(store, study(), jobs=jobs)
found.append({"states": sorted({o.state for o in outcomes})})
shutil.copytree(store.path, sys.argv[3])
print(json.dumps(found))
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_disk_that_fills_up(tmp_path, undisturbed, jobs, say):
    disk, whole = tmp_path / "disk", tmp_path / "whole"
    disk.mkdir()
    given = {"capture_output": True, "text": True, "check": False}
    try:
        tried = subprocess.run([*UNSHARED, "sh", "-c", MOUNT, "sh", disk, "true"], **given)
    except FileNotFoundError:
        pytest.skip("no unshare here (package util-linux)")
    if tried.returncode:
        say(f"no disk was filled: none can be mounted here ({tried.stderr.strip()})")
        pytest.skip(f"mounting: {tried.stderr.strip()}")
    here = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": here, "JOBLIB_TEMP_FOLDER": str(tmp_path)}
    script = [sys.executable, "-W", "error", "-c", SCRIPT, disk, str(jobs), whole]
    done = subprocess.run([*UNSHARED, "sh", "-c", MOUNT, "sh", disk, *script], env=environment, timeout=240, **given)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second, last = json.loads(done.stdout.splitlines()[-1])
    for found in (first, second):
        assert f"the disk of {disk}/run is full" in found["error"]
        assert "Free some room, then give the same command again." in found["error"]
        assert found["states"] == ["whole"]  # what has a record is whole
        assert found["halves"] == []
    assert 0 < first["finished"] < second["finished"] < 60
    assert last["states"] == ["computed", "reused"]
    check(Store(whole), study(), undisturbed)
