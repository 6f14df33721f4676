"""`--memory`: sizes in words, and that attacks, explanations and posteriors stay below one where it is the law."""

import os
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from holdfast import machine
from holdfast.cli import app

# 120 networks on 1,500 images, whose maps fill 540 MiB. The address space ends 450 MiB above what is taken before the
# work, of which `--memory` is told.
SCRIPT = """
import resource, sys, warnings
from pathlib import Path
import psutil, torch
from holdfast import attacks, explanations, machine, networks
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble

torch.set_num_threads(1)
one = networks.fc2((1, 28, 28), 10, width=64)
noise = torch.Generator().manual_seed(0)
weights = {k: 0.1 * torch.randn(120, *v.shape, generator=noise) for k, v in one.state_dict().items()}
ensemble = Ensemble(Ensemble.from_networks(one).network, weights)
x, y = torch.rand(1500, 1, 28, 28, generator=noise), torch.zeros(1500, dtype=torch.int64)
for warm in (1, 2):  # what is allocated once
    attacks.fgsm(ensemble[:warm], x[:2], y[:2], budget=Budget("linf", 0.1))
    explanations.lrp(ensemble[:warm], x[:2], 1, reduce="median")
now = psutil.Process().memory_info()
room = 450 << 20
resource.setrlimit(resource.RLIMIT_AS, (now.vms + room,) * 2)
assert machine.total_memory() == now.vms + room
memory = machine.working_memory(f"{now.rss + room}B") if sys.argv[1] == "told" else 1 << 40
warnings.simplefilter("error")
ensemble.log_predictive(x, memory=memory)
attacks.pgd(ensemble, x, y, budget=Budget("linf", 0.1), steps=2, memory=memory)
explanations.lrp(ensemble, x, 1, reduce="mean", memory=memory)
explanations.lrp(ensemble, x, 1, reduce="median", memory=memory)
explanations.mean_map_gradient(ensemble, x, lambda maps, rows: maps.flatten(1).sum(1), 1, memory=memory)
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
print("peak", peak <= now.rss + room, (peak - now.rss) >> 20)
"""


def run(told):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, told]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are Linux's")
def test_work_stays_within_a_limited_address_space():
    done = run("told")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("peak True")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space are Linux's")
def test_untold_it_does_not():
    assert "out of memory" in run("untold").stderr


HUGE = """
import json, sys
from pathlib import Path
run = Path(sys.argv[1])
run.mkdir()
(run / "manifest.json").write_text('{"schema": 2, "stages": {}, "many": [' + "[]," * 5_000_000 + "[]]}")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the data are Linux's")
def test_commands_without_tiles_are_held_to_it_by_the_system(tmp_path):
    """A manifest of 15 MB that takes 320 MB to read."""
    run = tmp_path / "run"
    subprocess.run([sys.executable, "-c", HUGE, str(run)], check=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    holdfast = [sys.executable, "-m", "holdfast"]

    def ask(room):
        command = [*holdfast, "runs", "verify", str(run), "--memory", f"{room}MB"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    least = ask(20)
    assert least.returncode == 2
    needed = int(re.search(r"give at least ([\d,]+)MB", least.stderr)[1].replace(",", ""))
    refused, done = ask(needed + 50), ask(needed + 1000)
    assert refused.returncode == 2
    assert refused.stderr.strip() == "error out of memory: this work needs more than --memory lets it have."
    assert (done.returncode, done.stdout) == (0, "0 of 0 stages are whole\n")


def commands(app, path=()):
    """All commands, those of groups included, with their options."""
    for name, command in getattr(app, "commands", {}).items():
        yield from commands(command, (*path, name))
    if not hasattr(app, "commands"):
        yield " ".join(path), command_options(app)


def command_options(command):
    return {name: parameter for parameter in command.params for name in parameter.opts}


def test_every_command_has_it_with_the_same_words():
    found = dict(commands(typer.main.get_command(app)))
    assert len(found) >= 10
    assert all("--memory" in options for options in found.values())
    assert len({(o["--memory"].help, o["--memory"].default, o["--memory"].metavar) for o in found.values()}) == 1


@pytest.mark.parametrize("size", ["0GB", "8 apples", "-3GB", "101%", "", "1e9", "nan%", "9" * 30])
@pytest.mark.parametrize(
    "command", [["demo"], ["diagnose", "bank", "--data", "mnist"], ["runs", "list"], ["data", "list"]]
)
def test_sizes_that_are_none_are_refused_before_any_work(command, size, tmp_path):
    result = CliRunner().invoke(app, [*command, f"--memory={size}"])
    assert isinstance(result.exception, ValueError)
    assert "memory: " in str(result.exception)


def test_too_little_says_how_much_is_needed():
    with pytest.raises(ValueError, match=r"memory: 90MB is 90,000,000 bytes, of which .* give at least [\d,]+MB"):
        machine.working_memory("90MB")
    assert machine.working_memory("100%") > machine.LEAST
    assert machine.working_memory("100%", 2) < machine.working_memory("100%")
    with pytest.raises(ValueError, match="for each of 1000000 processes"):
        machine.working_memory("100%", 1_000_000)


def test_what_slurm_gives_a_job_is_the_whole(monkeypatch):
    before = machine.total_memory()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "700")
    assert machine.total_memory() == min(before, 700 << 20)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")  # all
    assert machine.total_memory() == before


def test_sizes():
    whole = machine.total_memory()
    assert machine.memory_limit() == int(0.6 * whole)
    assert machine.memory_limit("50 %") == whole // 2
    assert machine.memory_limit("1mib") == machine.memory_limit("1024KiB") == machine.memory_limit("1048576") == 1 << 20
