"""A run folder reuses what is finished, notices damage and never leaves half a file."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from holdfast.studies.atomic import atomic, file_checksum
from holdfast.studies.codecs import JsonCodec, TensorsCodec
from holdfast.studies.manifest import read_record, record_file
from holdfast.studies.run_folder import DamagedArtifact, Frozen, RunFolder, Waiting


class Counter:
    """Computes a value and counts how often it was asked to."""

    def __init__(self, value):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return self.value


def test_a_finished_stage_is_reused_by_a_new_process(tmp_path):
    compute = Counter({"a": 1})
    first = RunFolder(tmp_path).stage("x/y", {"seed": 0}, compute, JsonCodec())
    again = RunFolder(tmp_path)
    second = again.stage("x/y", {"seed": 0}, compute, JsonCodec())
    assert (compute.calls, first, again.reused) == (1, second, ["x/y"])


def test_changed_settings_or_inputs_compute_anew(tmp_path):
    folder, compute = RunFolder(tmp_path), Counter(1)
    keys = {folder.stage("s", {"seed": seed}, compute, JsonCodec()).key for seed in (0, 1)}
    keys.add(folder.stage("s", {"seed": 1}, compute, JsonCodec(), rooms=("data",)).key)
    assert compute.calls == len(keys) == 3


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_artifact_is_computed_again_with_a_warning(tmp_path, damage):
    compute = Counter(({"w": torch.arange(100.0)}, {"n": 3}))
    RunFolder(tmp_path).stage("w", {}, compute, TensorsCodec())
    file = tmp_path / "w.safetensors"
    good = file.read_bytes()
    if damage == "flip":
        file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    elif damage == "truncate":
        file.write_bytes(good[:50])
    else:
        file.unlink()
    with pytest.warns(DamagedArtifact, match="computed again"):
        tensors, facts = RunFolder(tmp_path).stage("w", {}, compute, TensorsCodec()).value
    assert compute.calls == 2
    assert file.read_bytes() == good
    assert torch.equal(tensors["w"], torch.arange(100.0))
    assert facts == {"n": 3}


def test_a_manifest_that_cannot_be_read_starts_afresh(tmp_path):
    (tmp_path / "manifest.json").write_text('{"schema": 1, "stages"')
    with pytest.warns(DamagedArtifact, match="starts afresh"):
        RunFolder(tmp_path)


def test_the_manifest_names_every_file_with_its_checksum(tmp_path):
    folder = RunFolder(tmp_path)
    folder.stage("scores/a", {"k": 20}, lambda: [1], JsonCodec())
    folder.describe(command="holdfast demo")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    record = json.loads((tmp_path / "scores/a.record.json").read_text())
    assert folder.manifest["stages"] == {"scores/a": record}
    assert record["sha256"] == file_checksum(tmp_path / record["file"])
    assert manifest["command"] == "holdfast demo"
    assert manifest["versions"]["torch"] == torch.__version__


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    file = tmp_path / "f.json"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic(file) as partial:  # noqa: PT012
        partial.write_text("half")
        raise ZeroDivisionError
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]


def test_a_killed_process_loses_only_the_stage_in_flight(tmp_path):
    script = f"""
import time
from holdfast.studies.codecs import JsonCodec
from holdfast.studies.manifest import read_record, record_file
from holdfast.studies.run_folder import RunFolder
folder = RunFolder({str(tmp_path)!r})
folder.stage("one", {{}}, lambda: 1, JsonCodec())
folder.stage("two", {{}}, lambda: (print("ready", flush=True), time.sleep(60)), JsonCodec())
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    folder, one, two = RunFolder(tmp_path), Counter(1), Counter(2)
    folder.stage("one", {}, one, JsonCodec())
    folder.stage("two", {}, two, JsonCodec())
    assert (one.calls, two.calls) == (0, 1)
    begun = {name: read_record(record_file(tmp_path, name), name)["begun"] for name in ("one", "two")}
    assert begun == {"one": 1, "two": 2}
    assert not list(tmp_path.rglob("*.partial"))


def test_a_stage_that_failed_is_not_one_that_was_lost(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(ZeroDivisionError):
        folder.stage("one", {}, lambda: 1 / 0, JsonCodec())
    folder.stage("one", {}, lambda: 1, JsonCodec())
    assert read_record(record_file(tmp_path, "one"), "one")["begun"] == 1


def test_a_stage_that_another_process_computes_is_waited_for(tmp_path):
    script = f"""
import time
from holdfast.studies.codecs import JsonCodec
from holdfast.studies.manifest import read_record, record_file
from holdfast.studies.run_folder import RunFolder
def compute():
    print("computing", flush=True)
    time.sleep(1)
    return "theirs"
RunFolder({str(tmp_path)!r}).stage("one", {{}}, compute, JsonCodec())
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "computing\n"
    with pytest.warns(Waiting, match="another process is computing one in .*; waiting for it"):
        assert RunFolder(tmp_path).stage("one", {}, lambda: "ours", JsonCodec()).value == "theirs"
    process.communicate()
    with RunFolder(tmp_path).locked("one"), pytest.raises(BlockingIOError):  # noqa: SIM117
        with RunFolder(tmp_path).locked("one", wait=False):
            pass


@pytest.mark.parametrize("name", ["../a", "/a", "a/../b", ".a", "a/.b", "manifest", "a.record", "", "a\0", "a" * 300])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="a stage cannot be called"):
        RunFolder(tmp_path).stage(name, {}, lambda: 1, JsonCodec())


def test_a_file_that_cannot_be_read_and_a_damaged_record_are_computed_again(tmp_path):
    compute = Counter({"a": 1})
    RunFolder(tmp_path).stage("s", {}, compute, JsonCodec())
    (tmp_path / "s.json").write_text("no JSON")
    record = json.loads((tmp_path / "s.record.json").read_text())
    (tmp_path / "s.record.json").write_text(json.dumps(record | {"sha256": file_checksum(tmp_path / "s.json")}))
    with pytest.warns(DamagedArtifact, match="is not readable .* computed again"):
        RunFolder(tmp_path).stage("s", {}, compute, JsonCodec())
    (tmp_path / "s.record.json").write_text("{")
    with pytest.warns(DamagedArtifact, match=r"s.record.json is not the manifest of a run .* computed again"):
        RunFolder(tmp_path).stage("s", {}, compute, JsonCodec())
    assert compute.calls == 3
    assert RunFolder(tmp_path).stage("s", {}, lambda: 1 / 0, JsonCodec()).value == {"a": 1}


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot be written .*--run"):
        RunFolder(tmp_path / "file" / "run")
    if os.geteuid() != 0:  # root writes everywhere
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
        with pytest.raises(OSError, match="cannot be written"):
            RunFolder(locked)


def test_stages_report_what_they_did(tmp_path):
    said = []
    folder = RunFolder(tmp_path, lambda stage, seconds: said.append((stage, seconds is None)))
    for _ in range(2):
        folder.stage("s", {}, lambda: None, JsonCodec())
    assert said == [("s", False), ("s", True)]


HOLDER = """
import sys, time
from holdfast.studies.manifest import read_record, record_file
from holdfast.studies.run_folder import RunFolder
with RunFolder(sys.argv[1], patience=1.0).locked("one"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_process_is_not_waited_for_and_a_slow_one_is(tmp_path, frozen):
    """Another process holds the lock for longer than patience lasts: alive, or stopped."""
    folder = RunFolder(tmp_path, patience=1.0)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "held\n"
            if frozen:
                holder.send_signal(signal.SIGSTOP)
            time.sleep(2.5)
            compute = lambda: folder.stage("one", {}, lambda: 7, JsonCodec(), wait=False).value
            if frozen:
                with pytest.warns(Frozen, match="the process that computes one is frozen"):
                    assert compute() == 7
            else:
                with pytest.raises(BlockingIOError, match="another process is computing one"):
                    compute()
        finally:
            holder.kill()
