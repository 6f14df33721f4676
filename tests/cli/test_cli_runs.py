"""`holdfast runs`: what it says of runs, and that it removes what is left over and nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from holdfast.cli import app
from holdfast.studies.codecs import JsonCodec
from holdfast.studies.run_folder import RunFolder
from holdfast.studies.runs import find_runs, open_run, verify_run

KEPT = Path(__file__).parents[1] / "studies" / "kept_runs"


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "runs" / "one"
    folder = RunFolder(path)
    folder.describe(command="holdfast demo")
    folder.stage("scores/a", {"seed": 0}, lambda: [1, 2], JsonCodec())
    folder.stage("b", {"seed": 0}, lambda: "text", JsonCodec())
    return path


def call(*arguments, code=0):
    result = CliRunner().invoke(app, ["runs", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


def test_list_and_show(run):
    out = call("list", run.parent)
    assert str(run) in out.replace("\n", "")
    assert " 2 " in out
    out = call("show", run)
    assert "holdfast demo" in out
    assert "scores/a.json" in out
    assert "no runs in" in call("list", run.parent / "elsewhere")


def test_verify_tells_damaged_missing_and_outside(run):
    assert "2 of 2 stages are whole" in call("verify", run)
    (run / "b.json").write_text("other")
    assert "damaged  b" in call("verify", run, code=1)
    (run / "b.json").unlink()
    assert "missing  b" in call("verify", run, code=1)
    record = json.loads((run / "b.record.json").read_text())
    (run / "b.record.json").write_text(json.dumps(record | {"file": "../../secret.json"}))
    assert verify_run(open_run(run)) == {"scores/a": "whole", "b": "outside"}


def test_gc_removes_what_no_manifest_names(run):
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    (run / "old").mkdir()
    (run / "old" / "stage.safetensors").write_bytes(b"12345")
    (run / ".b.json.123-ab.partial").write_bytes(b"1")
    (run / ".b.scratch").mkdir()
    (run / ".b.scratch" / "draw-1.safetensors").write_bytes(b"a stage goes on from here")
    (run / "report.html").write_text("a report is no stage")
    assert "2 files, 6 bytes, would be removed" in call("gc", run, "--dry-run")
    assert (run / "old" / "stage.safetensors").exists()
    assert "2 files, 6 bytes, removed" in call("gc", run)
    assert not (run / "old" / "stage.safetensors").exists()
    assert (run / ".b.scratch" / "draw-1.safetensors").exists()
    assert (run / "report.html").exists()
    assert all(file.read_bytes() == content for file, content in before.items())


def test_gc_leaves_what_is_being_written(run):
    half = run / ".b.json.123-ab.partial"
    half.write_bytes(b"1")
    with FileLock(run / ".b.lock"):
        assert "0 files, 0 bytes, removed; 1 are in use and stay" in call("gc", run)
        assert half.exists()
    assert "1 files, 1 byte, removed" in call("gc", run)


def test_a_run_of_the_first_schema_opens_and_is_reused(run):
    """Its records lie in the manifest."""
    files = [run / "scores/a.record.json", run / "b.record.json"]
    names = ("scores/a", "b")
    stages = {name: json.loads(file.read_text()) for name, file in zip(names, files)}
    for file in files:
        file.unlink()
    (run / "manifest.json").write_text(json.dumps({"schema": 1, "versions": {"holdfast": "0.0.9"}, "stages": stages}))
    assert "2 of 2 stages are whole" in call("verify", run)
    assert "0.0.9" in call("list", run.parent)
    assert "0 files" in call("gc", run)
    folder = RunFolder(run)
    folder.describe(command="again")
    assert folder.stage("b", {"seed": 0}, lambda: 1 / 0, JsonCodec()).value == "text"
    folder.stage("scores/a", {"seed": 1}, lambda: [3], JsonCodec())
    assert set(open_run(run).stages) == {"scores/a", "b"}
    assert "2 of 2 stages are whole" in call("verify", run)


@pytest.mark.parametrize("schema", [1, 2])
def test_kept_runs_of_older_versions_open(tmp_path, schema):
    """Folders that holdfast wrote when the schema was new, and nobody has touched since."""
    run = tmp_path / "run"
    shutil.copytree(KEPT / f"schema-{schema}", run)
    before = {file.name: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert json.loads(before["manifest.json"])["schema"] == schema
    assert " 3 " in call("list", tmp_path)
    shown = call("show", run)
    assert all(text in shown for text in ("holdfast demo --points 2", "train/tiny", "scores/k_lrp.parquet", "checks"))
    assert "3 of 3 stages are whole" in call("verify", run)
    assert "0 files, 0 bytes, removed" in call("gc", run)
    assert {name: (next(run.rglob(name))).read_bytes() for name in before} == before
    folder = RunFolder(run)
    folder.stage("scores/b", {}, lambda: [1], JsonCodec())
    folder.describe(command="again")
    assert "4 of 4 stages are whole" in call("verify", run)


def test_a_run_of_a_later_schema_is_left_alone(run):
    text = json.dumps({"schema": 3, "stages": {"what": "ever"}})
    (run / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"schema 3, of a later holdfast; .* up to 2: upgrade it, or choose another"):
        RunFolder(run)
    assert (run / "manifest.json").read_text() == text
    with pytest.warns(UserWarning, match="schema 3, of a later holdfast"):
        assert find_runs(run) == []


def test_a_damaged_record_says_what_to_do(run):
    (run / "b.record.json").write_text("{")
    with pytest.raises(ValueError, match=r"b.record.json is not .* Delete it, or run its command again"):
        open_run(run)


def test_paths_are_whole_in_a_narrow_terminal(run):
    out = CliRunner().invoke(app, ["runs", "list", str(run.parent)], env={"COLUMNS": "80"}).output
    cells = [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")]
    assert "".join(cells) == str(run)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "stages": {"a": {"file": 3}}}', '{"schema": 99, "stages": {}}'],
)
@pytest.mark.filterwarnings("ignore:.*of a later holdfast")
def test_what_is_no_manifest_is_refused_and_left_out_of_the_list(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest|of a later holdfast"):
        open_run(tmp_path)
    assert find_runs(tmp_path) == []
    with pytest.raises(FileNotFoundError, match="there is no run in"):
        open_run(tmp_path / "none")
