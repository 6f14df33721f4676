"""A command that is told to end, by Ctrl-C or by `kill`, says how to go on; killed or told, its workers end with it."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

COMMAND = ["reproduce", "BE-F3", "--panel", "MNIST", "--scale", "smoke", "--jobs", "2"]


def workers(parent):
    return [p for p in parent.children(recursive=True) if any("popen_loky" in word for word in p.cmdline())]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_command(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast", *COMMAND, "--run", str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 90
    while len(begun := workers(psutil.Process(process.pid))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(begun) == 2
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    told = number != signal.SIGKILL
    assert process.returncode == (130 if told else -signal.SIGKILL)
    text = "stopped; finished stages are kept and the same command goes on from there"
    assert (text in " ".join(said.split())) == told
    _, alive = psutil.wait_procs(begun, timeout=20)
    assert alive == []
