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


DEAF = """
import os, signal, time
from holdfast import cli

def deaf():
    try:
        os.kill(os.getpid(), signal.{number})
        time.sleep(60)
    except KeyboardInterrupt:
        pass  # as what is raised in a finaliser ends, and in libraries that catch everything
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        raise SystemExit(cli.INTERRUPTED)

cli.app, cli.AGAIN = deaf, 0.2
try:
    cli.main()
finally:
    print("left:", signal.getitimer(signal.ITIMER_REAL))
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that raise signals")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interrupt_that_something_threw_away_is_raised_again(number):
    run = subprocess.run(
        [sys.executable, "-c", DEAF.format(number=number)], capture_output=True, text=True, timeout=50, check=False
    )
    assert run.returncode == 130, run.stderr
    assert "stopped; finished stages are kept" in run.stderr
    assert run.stdout == "left: (0.0, 0.0)\n"
