"""A SLURM of one node, from the packages slurm-wlm and munge, in a folder and on ports of its own, as any user."""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
MUNGE = ("key-file", "socket", "pid-file", "log-file", "seed-file")
TASK = re.compile(rb"(?:\A|\0)SLURM_ARRAY_TASK_ID=(\d+)\0")
SECONDS = 20.0  # to wait for the node
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
ReturnToService=2
KillWait=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class NoSlurm(Exception):
    """SLURM does not start here; the message says why."""


class Node:
    """The node, and the daemons around it.

    Attributes:
        name: what SLURM calls it.
        variables: with which SLURM's commands find it.
    """

    def __init__(self, folder: Path, programs: Mapping[str, str]) -> None:
        self.folder, self.programs, self.name = folder, programs, socket.gethostname().split(".")[0]
        self.variables = {"SLURM_CONF": str(_configure(folder, self.name))}
        self.daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Node":
        secret = [f"--{what}={self.folder}/munge.{what.removesuffix('-file')}" for what in MUNGE]
        self._start("munged", "--foreground", "--force", *secret)
        self._wait_for("munged", lambda: (self.folder / "munge.socket").is_socket())
        self._start("slurmctld", "-D", "-f", self.variables["SLURM_CONF"])
        self.power_on()
        return self

    def __exit__(self, *error: object) -> None:
        self.ask("scancel", "--me")
        deadline = time.monotonic() + 10
        while self.ask("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in reversed(self.daemons.values()):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def power_on(self) -> None:
        """Start the node's daemon and wait until the node takes jobs."""
        self._start("slurmd", "-D", "-f", self.variables["SLURM_CONF"])
        self._wait_for("slurmd", lambda: self.ask("sinfo", "--noheader", "--format=%T") in ("idle", "mixed"))

    def power_off(self) -> None:
        """Kill the node's daemon and whatever its jobs run, and tell SLURM what it would notice in minutes."""
        lights = [self.daemons["slurmd"].pid, *self.processes()]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # all at once: none tells of another's end
            for process in lights:
                with suppress(ProcessLookupError):
                    os.kill(process, number)
        self.daemons["slurmd"].wait()
        self.ask("scontrol", "update", f"nodename={self.name}", "state=down", "reason=storm")

    def processes(self) -> set[int]:
        """What runs on the node for its jobs, and the daemons that keep it."""
        mark, others = f"SLURM_CONF={self.variables['SLURM_CONF']}\0".encode(), {os.getpid()}
        others |= {process.pid for process in self.daemons.values()}
        found = {pid for pid in _all() - others if mark in _read(pid, "environ")}
        found -= {pid for pid in found if _parent(pid) == self.daemons["slurmctld"].pid}  # it has a helper
        return found | {parent for pid in found if "slurmstepd" in _read(parent := _parent(pid), "comm").decode()}

    def computing(self) -> dict[int, set[int]]:
        """The processes that compute in jobs of the array, by number; a job that SLURM is starting has none."""
        found: dict[int, set[int]] = {}
        for pid in self.processes():
            at_work = b"submitit.core._submit\0" in _read(pid, "cmdline") and b"python" in _read(pid, "comm")
            if at_work and (task := TASK.search(_read(pid, "environ"))):
                found.setdefault(int(task[1]), set()).add(pid)
        return found

    def send(self, kind: signal.Signals, *numbers: int) -> None:
        """Send a signal to all that computes in jobs of the array."""
        for number, processes in self.computing().items():
            for pid in processes if number in numbers else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, kind)

    def has_said_all(self) -> bool:
        """Whether SLURM has no message for the node under way, such as one to end what ran there before."""
        facts = dict(line.split(":", 1) for line in self.ask("sdiag").splitlines() if line.startswith("Agent"))
        return len(facts) >= 2 and all(int(number) == 0 for number in facts.values())

    def ask(self, *command: str) -> str:
        """The answer of one of SLURM's commands; empty where it has none."""
        given = {"env": os.environ | self.variables, "capture_output": True, "text": True, "check": False}
        try:
            return subprocess.run(command, timeout=10, **given).stdout.strip()
        except subprocess.TimeoutExpired:
            return ""

    def _start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("a") as out:
            given = {"stdout": out, "stderr": out, "env": os.environ | self.variables, "start_new_session": True}
            self.daemons[name] = subprocess.Popen([self.programs[name], *arguments], **given)

    def _wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not ready():
            ended = [name for name, process in self.daemons.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                said = (self.folder / f"{(ended or [name])[0]}.out").read_text().strip().splitlines()
                raise NoSlurm(f"{(ended or [name])[0]} does not start ({said[-1] if said else 'it says nothing'})")
            time.sleep(0.1)


def _all() -> set[int]:
    return {int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()}


def _read(pid: int, what: str) -> bytes:
    """A file of a process; empty where it has just ended."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def _parent(pid: int) -> int:
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


@contextmanager
def one_node() -> Iterator[Node]:
    """Within this a node of four cores takes jobs.

    Raises:
        NoSlurm: its packages are not here, or a daemon does not start.
    """
    where = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = {name: shutil.which(name, path=where) for name in PROGRAMS}
    if absent := [name for name, path in found.items() if path is None]:
        raise NoSlurm(f"no {', '.join(absent)} here (packages slurm-wlm and munge)")
    with tempfile.TemporaryDirectory(prefix="slurm", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # whoever SLURM runs as can reach munge's socket
        with Node(Path(folder), found) as node:
            yield node


def _configure(folder: Path, host: str) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(64))
    controller, node = _free_ports()
    text = CONFIGURATION.format(folder=folder, host=host, user=getpass.getuser(), controller=controller, node=node)
    file = folder / "slurm.conf"
    file.write_text(text)
    return file


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        for listener in (one, two):
            listener.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]
