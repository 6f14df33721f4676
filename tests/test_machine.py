"""Machine settings: each in a process of its own, for they stay until the process ends."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from holdfast import machine


def python(code):
    """What a fresh Python prints last, as JSON. Variables of the settings are removed first."""
    clean = {k: v for k, v in os.environ.items() if k not in machine.THREADS}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import json, sys\n{code}"],
        env=clean, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def amx():
    cpu = Path("/proc/cpuinfo")
    return cpu.is_file() and "amx_bf16" in cpu.read_text()


def test_importing_applies_nothing_and_loads_no_torch():
    found = python(
        "import os; before = dict(os.environ); from holdfast import machine\n"
        "print(json.dumps(['torch' in sys.modules, before == dict(os.environ)]))"
    )
    assert found == [False, True]


def test_tune_before_torch():
    found = python(
        "import os; from holdfast import machine\n"
        "done = machine.tune(); again = machine.tune(); import torch\n"
        "knob = torch.backends.mkldnn.matmul.fp32_precision\n"
        "print(json.dumps([done, again, knob, {k: os.environ[k] for k in machine.THREADS}]))"
    )
    done, again, knob, environment = found
    assert set(done) == {"threads", "memory", "products"}
    assert done["threads"] == again["threads"] == "MKL_DYNAMIC=FALSE, OMP_WAIT_POLICY=passive"
    assert environment == machine.THREADS
    if sys.platform.startswith("linux"):
        assert done["memory"] in ("freed blocks are kept", "unchanged: the C library has no mallopt")
    assert (knob == "bf16") == done["products"].startswith("oneDNN")
    if amx():
        assert done["products"].startswith("unchanged: oneDNN would round to bfloat16 on this chip (error 2e-03)")


def test_threads_that_the_user_has_set_stay(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("MKL_DYNAMIC", "")  # noted, so that it is put back
    monkeypatch.delenv("MKL_DYNAMIC")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert machine.set_threads() == "MKL_DYNAMIC=FALSE, OMP_WAIT_POLICY=active"
    assert (os.environ["MKL_DYNAMIC"], os.environ["OMP_WAIT_POLICY"]) == ("FALSE", "active")


def test_threads_stay_as_they_were_once_torch_is_imported(monkeypatch):
    for name in machine.THREADS:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    assert machine.set_threads() == "unchanged: torch was imported before MKL_DYNAMIC, OMP_WAIT_POLICY could be set"
    assert not machine.THREADS.keys() & os.environ.keys()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's setting")
def test_kept_memory_spares_page_faults():
    found = python(
        "from holdfast import machine; import torch, resource\n"
        "torch.set_num_threads(1)\n"
        "def faults(times):\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(times): torch.ones(10 << 20)\n"  # 40 MiB each, dropped at once
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "before = faults(3); done = machine.keep_freed_memory(); faults(9)\n"  # the heap settles after a few blocks
        "print(json.dumps([done, before, faults(3)]))"
    )
    if found[0] != "freed blocks are kept":
        pytest.skip(found[0])
    assert found[2] < found[1] / 10


def check_products(monkeypatch, error, share):
    knob = torch.backends.mkldnn.matmul
    before = knob.fp32_precision
    monkeypatch.setattr(machine, "_error", lambda *shape: error)
    monkeypatch.setattr(machine, "_share_of_time", lambda knob, rounds: share)
    try:
        return machine.fastest_exact_product(), knob.fp32_precision
    finally:
        knob.fp32_precision = before


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_a_precision_that_the_user_has_set_stays():
    knob = torch.backends.mkldnn.matmul
    before = knob.fp32_precision
    knob.fp32_precision = "bf16"
    try:
        assert machine.fastest_exact_product() == "unchanged: already set to bf16"
        assert knob.fp32_precision == "bf16"
    finally:
        knob.fp32_precision = before


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize(
    ("error", "share", "words", "setting"),
    [
        (4e-7, 0.45, r"oneDNN, 0.45 of the usual time, error 4e-07", "bf16"),
        (4e-7, 0.95, r"unchanged: oneDNN takes 0.95 of the usual time", None),
        (2e-3, 0.20, r"unchanged: oneDNN would round to bfloat16 on this chip \(error 2e-03\)", None),
        (float("nan"), 0.20, r"unchanged: oneDNN would round .* \(error nan\)", None),
    ],
)
def test_products_are_rerouted_only_where_exact_and_faster(monkeypatch, error, share, words, setting):
    said, found = check_products(monkeypatch, error, share)
    assert re.fullmatch(words, said)
    assert found == (setting or torch.backends.mkldnn.matmul.fp32_precision)


def test_the_error_that_is_measured_tells_float32_from_bfloat16():
    errors = [machine._error(*shape) for shape in machine.SHAPES]
    assert max(errors) < machine.TOLERANCE
    a, b = torch.randn(2, 512, 512, generator=torch.Generator().manual_seed(0))
    exact = a.double() @ b.double()
    rounded = a.bfloat16().double() @ b.bfloat16().double()
    assert float((rounded - exact).norm() / exact.norm()) > 100 * machine.TOLERANCE
