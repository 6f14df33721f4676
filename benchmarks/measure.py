"""Measuring: contestants interleaved in one process, ratios round by round, peak memory in a process of its own.

A shared machine changes its speed from second to second. So contestants take turns within each round, the ratio is
taken inside each round, and the median over rounds is reported: a slow moment falls on all of them alike.

    seconds = interleave({"ours": ours, "floor": floor}, rounds=7)
    entry("epsilon, fc2 512", ratio(seconds, "ours", "floor"), 1.10, "at_most", describe(seconds))
"""

import gc
import importlib
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
Kind = Literal["at_most", "at_least"]


class Memory(NamedTuple):
    """Resident bytes of a process: when the work began, and at its highest."""

    before: int
    peak: int

    @property
    def added(self) -> int:
        """Bytes that the work took above what was there before."""
        return self.peak - self.before


def interleave(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int = 7,
    *,
    warmup: int = 1,
    repeats: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time contestants in turns: seconds per call, one value per round, under each contestant's name.

    Args:
        contestants: name -> a function without arguments that does the work.
        rounds: in each round every contestant runs once; every second round goes in the opposite order.
        warmup: calls of each contestant before the first round, not timed.
        repeats: calls in a row that make up one value (their mean), for work of less than a millisecond.
        clock: `time.perf_counter`, or `time.process_time` for CPU seconds of all threads on a busy machine.
    """
    if not contestants or rounds < 1 or repeats < 1:
        raise ValueError("interleave: needs at least one contestant, one round and one repeat.")
    for work in contestants.values():
        for _ in range(warmup):
            work()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            for name in names if turn % 2 == 0 else reversed(names):
                seconds[name].append(_time(contestants[name], repeats, clock))
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], first: str, second: str) -> float:
    """Median over rounds of `seconds[first] / seconds[second]`: how many times as long `first` takes."""
    return statistics.median(a / b for a, b in zip(seconds[first], seconds[second], strict=True))


def describe(seconds: Mapping[str, Sequence[float]]) -> str:
    """Median time of each contestant and the number of rounds, for an entry's detail."""
    rounds = len(next(iter(seconds.values())))
    times = ", ".join(f"{name} {_readable(statistics.median(values))}" for name, values in seconds.items())
    return f"median of {rounds} rounds: {times}"


def entry(name: str, value: float, bound: float, kind: Kind, detail: str = "") -> dict[str, Any]:
    """One line of `results/FAMILY.json`. A value that is not a number does not hold."""
    if kind not in ("at_most", "at_least"):
        raise ValueError(f"entry: kind must be 'at_most' or 'at_least', got {kind!r}.")
    value, bound = float(value), float(bound)
    holds = math.isfinite(value) and (value <= bound if kind == "at_most" else value >= bound)
    return {"name": name, "value": value, "bound": bound, "kind": kind, "holds": holds, "detail": detail}


def processor() -> str:
    """The processor's name, with what it has for wide and for bfloat16 products, as far as the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in said.get("flags", "").split()]
    return f"{said.get('model name', platform.machine())} ({', '.join(units) or 'no wide units known'})"


def peak_memory(target: str, *arguments: Any, timeout: float = 600) -> Memory:
    """Resident memory of a piece of work, in a fresh Python process with the settings of `holdfast.machine.tune`.

    Args:
        target: "module:function", such as "benchmarks.relevance:heatmaps". The function prepares inputs and returns
            the work as a function without arguments; only the work is between `before` and `peak`.
        arguments: given to the function; anything that JSON can write.
        timeout: seconds after which the process is ended and `subprocess.TimeoutExpired` raised.
    """
    command = [sys.executable, "-m", "benchmarks.measure", target, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"peak_memory: {target} failed in its process:\n{done.stderr.strip()[-2000:]}")
    return Memory(**json.loads(done.stdout.splitlines()[-1]))


def _time(work: Callable[[], Any], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        work()
    return (clock() - start) / repeats


def _readable(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def _resident(field: Literal["VmRSS", "VmHWM"]) -> int:
    """Resident bytes of this process now (VmRSS) or at most since the last reset (VmHWM). Linux only.

    `getrusage` will not do: its peak is inherited from the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}.")


def _measure_here(target: str, arguments: list) -> Memory:
    from holdfast import machine

    machine.tune()
    module, _, function = target.partition(":")
    work = getattr(importlib.import_module(module), function)(*arguments)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to the present size
    before = _resident("VmRSS")
    work()
    return Memory(before, _resident("VmHWM"))


if __name__ == "__main__":
    print(json.dumps(_measure_here(sys.argv[1], json.loads(sys.argv[2]))._asdict()))
