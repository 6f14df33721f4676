"""Machine settings that make CPU work faster and its bytes repeatable, and the memory that a process may fill.

All of it happens on request, never on import.

`tune()` is called by the command line and the benchmarks, as early as possible: the thread settings are read when torch
is first imported. Three settings, measured in `benchmarks/relevance.py`:

* threads: `MKL_DYNAMIC=FALSE`, so that the number of threads, and with it the order of sums, does not change with the
  load of the machine; `OMP_WAIT_POLICY=passive`, so that waiting threads sleep instead of spinning, which on a busy
  machine made two threads twenty times slower than one;
* memory: glibc returns large freed blocks to the system, and every large temporary is paid for again, a page fault per
  4 KiB; told to keep them, the process is up to twice as fast and never shrinks;
* products: PyTorch's x86 wheels multiply float32 matrices with MKL, which leaves AVX-512 idle on AMD chips. Allowing
  bfloat16 inside float32 products sends them to oneDNN, which computes in true float32 where the chip has no AMX. Where
  it has, oneDNN would really round to bfloat16: each route's error and time are measured, and nothing is changed unless
  the other route rounds like float32 and is much faster.
"""

import ctypes
import math
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

THREADS = {"MKL_DYNAMIC": "FALSE", "OMP_WAIT_POLICY": "passive"}
KEPT_BLOCK = 1 << 30  # blocks up to this many bytes come from the heap and stay there
TRIM = (1 << 31) - 1  # the heap is given back only beyond this, the largest value that mallopt takes
TOLERANCE = 2e-6  # relative error of a product of 512 to 784 terms; float32 gives 2e-7 to 5e-7, bfloat16 2e-3
FASTER = 0.7  # share of the usual time; chips gave 0.45 or 1, so the choice, and the bytes, do not vary with the noise
SHAPES = ((1, 256, 512, 512), (1, 500, 784, 512), (4, 64, 512, 512), (1, 1, 784, 512))  # batch, rows, terms, columns
MEMORY = "60%"  # what a process may fill unless told otherwise
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
LEAST = 1 << 26  # bytes left to work with, below which nothing is begun: one tile, see holdfast.tiles


def tune() -> dict[str, str]:
    """Apply all settings to this process and say what was done, in words.

    Call it before torch is imported; later it still sets memory and products, and says that the threads are as they
    were. Calling it again is harmless.

    Returns:
        "threads", "memory" and "products", each with what was done.
    """
    done = {"threads": set_threads(), "memory": keep_freed_memory()}
    return done | {"products": fastest_exact_product()}


def set_threads() -> str:
    """Set the thread variables of `THREADS` for libraries still to be loaded; what the user has set stays."""
    missing = [name for name in THREADS if name not in os.environ]
    if missing and "torch" in sys.modules:
        return f"unchanged: torch was imported before {', '.join(missing)} could be set"
    for name in missing:
        os.environ[name] = THREADS[name]
    return ", ".join(f"{name}={os.environ[name]}" for name in THREADS)


def keep_freed_memory() -> str:
    """Let glibc keep large freed blocks for the next large temporary."""
    if not sys.platform.startswith("linux"):
        return "unchanged: not Linux"
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # other C libraries, such as musl
        return "unchanged: the C library has no mallopt"
    trim_threshold, mmap_threshold = -1, -3  # names in malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    kept = mallopt(mmap_threshold, KEPT_BLOCK) and mallopt(trim_threshold, TRIM)
    return "freed blocks are kept" if kept else "unchanged: mallopt refused"


def fastest_exact_product(rounds: int = 9) -> str:
    """Send float32 matrix products to oneDNN where that is much faster and still rounds like float32.

    Whoever has already chosen a precision keeps it.
    """
    import torch

    if not torch.backends.mkldnn.is_available():
        return "unchanged: this torch has no oneDNN"
    knob = torch.backends.mkldnn.matmul
    before = knob.fp32_precision
    if before not in ("none", "ieee"):
        return f"unchanged: already set to {before}"
    knob.fp32_precision = "bf16"
    errors = [_error(*shape) for shape in SHAPES]
    error, exact = max(errors), all(e <= TOLERANCE for e in errors)  # a NaN is not exact
    share = _share_of_time(knob, rounds) if exact else 1.0
    if share <= FASTER:
        knob.fp32_precision = "bf16"
        return f"oneDNN, {share:.2f} of the usual time, error {error:.0e}"
    knob.fp32_precision = before
    if not exact:
        return f"unchanged: oneDNN would round to bfloat16 on this chip (error {error:.0e})"
    return f"unchanged: oneDNN takes {share:.2f} of the usual time"


def _error(batch: int, rows: int, terms: int, columns: int) -> float:
    """Relative error of a float32 product against float64."""
    import torch

    generator = torch.Generator().manual_seed(0)
    a = torch.randn(batch, rows, terms, generator=generator)
    b = torch.randn(batch, terms, columns, generator=generator)
    a, b = (a[0], b[0]) if batch == 1 else (a, b)  # one product takes another path than a batch of them
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).norm() / exact.norm())


def _share_of_time(knob: object, rounds: int) -> float:
    """Best time of a product through oneDNN over its best time on the usual route, measured in turns."""
    import torch

    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(rows, 512, generator=generator) for rows in (256, 512))
    best = {"ieee": float("inf"), "bf16": float("inf")}
    for _ in range(rounds):
        for setting in best:
            knob.fp32_precision = setting
            start = time.perf_counter()
            a @ b
            best[setting] = min(best[setting], time.perf_counter() - start)
    return best["bf16"] / best["ieee"]


def memory_limit(size: str = MEMORY) -> int:
    """Bytes that a size in words stands for: "8GB", "512 MiB", or "60%" of what the machine has for this process.

    >>> memory_limit("80MB"), memory_limit("1.5 MiB")
    (80000000, 1572864)

    Raises:
        ValueError: no such size, or more than the machine has.
    """
    found = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(?:(%)|([KMGT]?I?)B?)\s*", size.upper())
    if found is None or (unit := found[3] or "") not in UNITS:
        raise ValueError(f"memory: expected a size such as 8GB, 512MiB or 60%, got {size[:40]!r}.")
    number, whole = float(found[1]), total_memory()
    limit = int(number / 100 * whole if found[2] else number * UNITS[unit])
    if not 0 < limit <= whole:
        raise ValueError(f"memory: {size} is {limit:,} bytes; expected above 0 and at most the machine's {whole:,}.")
    return limit


def working_memory(size: str = MEMORY, processes: int = 1) -> int:
    """The `memory=` for explanations, attacks and predictions that keeps the whole process below a size in words.

    What the process holds now (libraries, data, weights) is taken off, and half of the rest: the other half is for what
    a call returns.

    Args:
        size: of all processes together.
        processes: how many like this one share it.

    Raises:
        ValueError: no such size, or the process holds too much already.
    """
    import psutil

    limit, held = memory_limit(size) // processes, psutil.Process().memory_info().rss
    _check_room(size, limit, held, 2 * LEAST, processes)
    return (limit - held) // 2


def _check_room(size: str, limit: int, held: int, least: int, processes: int = 1) -> None:
    if limit - held < least:
        each = f" for each of {processes} processes" if processes > 1 else ""
        raise ValueError(
            f"memory: {size} is {limit:,} bytes{each}, of which {held:,} are taken before any work; "
            f"give at least {math.ceil(processes * (held + least) / 1e6):,}MB."
        )


def hold_to(size: str = MEMORY) -> int:
    """Let the system refuse this process more memory than a size in words; a `MemoryError` then says so. In bytes.

    For work that has no parts which could be made smaller, whatever the files say that it reads. Systems without such a
    limit (it is Linux's) are left as they are.

    Raises:
        ValueError: no such size, or the process holds too much already.
    """
    import psutil

    limit = memory_limit(size)
    if sys.platform.startswith("linux"):
        import resource

        held = psutil.Process().memory_info().data
        _check_room(size, limit, held, LEAST)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return limit


def end_with_parent(parent: int) -> None:
    """Let Linux end this process with the one that began it: whoever is killed must not leave workers behind.

    Args:
        parent: its process id; where it has ended already, so does this one now.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)


def total_memory() -> int:
    """Bytes of memory that this process could fill: of the machine, its control group and its address space."""
    import psutil

    return min(psutil.virtual_memory().total, *_limits())


def _limits() -> Iterator[int]:
    """What the system allows: control groups (containers, SLURM) up to their root, SLURM's `--mem`, `ulimit -v`."""
    yield sys.maxsize
    asked = os.environ.get("SLURM_MEM_PER_NODE", "")  # MiB; 0 for all
    yield (int(asked) << 20 if asked.isdigit() else 0) or sys.maxsize
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup")
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root) and (folder / file).is_file():
                text = (folder / file).read_text().strip()
                yield int(text) if text.isdigit() else sys.maxsize
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    yield sys.maxsize if soft == resource.RLIM_INFINITY else soft
