"""A run folder in a bucket, played by fsspec's own local and in-memory file systems: machines with a copy each."""

import pickle
import re

import fsspec
import pytest
from sixty_cells import study

from holdfast.studies.engine import Cell, Context, Store, execute
from holdfast.studies.engine.bucket import Bucket
from holdfast.studies.engine.machines import slurm_workers
from holdfast.studies.engine.store import NotFinished

SIX = slice(0, 2)  # two networks, attacked and asked


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Be a machine with a cache of its own, and open the bucket there."""

    def be(name, address=None):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return Store.at(address or f"file://{tmp_path}/bucket/run", Context())

    return be


def states(outcomes):
    return sorted({outcome.state for outcome in outcomes})


def test_what_one_machine_computes_another_one_reads(machine, undisturbed):
    first = machine("first")
    assert states(execute(first, study()[SIX])) == ["computed"]
    second = machine("second")
    assert second.path != first.path
    assert states(execute(second, study()[SIX])) == ["reused"]
    assert not list(second.path.glob("cells/fit/*.safetensors"))  # nobody here needs them
    for cell in study()[SIX]:
        assert second.read(cell).equals(undisturbed.read(cell))
    third = pickle.loads(pickle.dumps(second))
    assert (third.path, third.bucket) == (second.path, second.bucket)


def test_what_a_cell_needs_is_fetched(machine, undisturbed):
    cell = study()[0]
    execute(machine("first"), [cell.needs["attack"]])
    second = machine("second")
    assert [o.state for o in execute(second, [cell])] == ["reused", "reused", "computed"]
    assert second.read(cell).equals(undisturbed.read(cell))


def test_what_is_damaged_in_the_bucket_is_computed_again(machine, undisturbed, tmp_path):
    cell = study()[0]
    execute(machine("first"), [cell])
    (there,) = (tmp_path / "bucket/run/cells/predictions").glob("*.parquet")
    whole = there.read_bytes()
    there.write_bytes(whole[:-8])
    second = machine("second")
    with pytest.raises(NotFinished, match="execute the study again"):
        second.read(cell)
    assert [o.state for o in execute(machine("second"), [cell])] == ["reused", "reused", "computed"]
    assert there.read_bytes() == whole


def test_a_result_without_a_record_is_not_there(machine, tmp_path):
    cell = study()[0]
    execute(machine("first"), [cell])
    (record,) = (tmp_path / "bucket/run/cells/predictions").glob("*.record.json")
    record.unlink()
    assert not machine("second").has(cell)


def test_what_could_not_be_put_there_is_put_there_later(machine, monkeypatch, undisturbed):
    """The network is down when a cell is finished: it failed, and the next call has nothing to compute."""
    cell, store = study()[0].needs["ensemble"], machine("first")
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "put", lambda *_: (_ for _ in ()).throw(OSError("no route to host")))
        (outcome,) = execute(store, [cell])
    assert (outcome.state, outcome.message) == ("failed", "OSError: no route to host")
    assert not machine("second").has(cell)
    (record,) = store.path.glob("cells/fit/*.record.json")
    before = record.read_bytes()
    execute(machine("first"), [cell])
    assert record.read_bytes() == before
    assert machine("second").has(cell)


def test_tables_and_pages_are_put_there_too(machine):
    store = machine("first", "memory://lab/run")
    execute(store, study()[:1])
    (store.path / "tables").mkdir()
    (store.path / "tables" / "one.parquet").write_bytes(b"rows")
    (store.path / "verdicts.html").write_text("page")
    store.publish()
    there = fsspec.filesystem("memory")
    assert {"/lab/run/manifest.json", "/lab/run/tables/one.parquet", "/lab/run/verdicts.html"} <= set(
        there.find("/lab")
    )
    assert there.cat_file("/lab/run/verdicts.html") == b"page"
    assert states(execute(machine("second", "memory://lab/run"), study()[:1])) == ["reused"]


def test_names_that_only_begin_alike_have_copies_of_their_own(machine):
    paths = {
        machine("one", address).path for address in ("s3://lab/run", "s3://lab/run/", "gs://lab/run", "s3://lab-run")
    }
    assert len(paths) == 3


def test_what_cannot_be_reached_is_one_error(machine, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"Protocol not known: lab"):
        machine("one", "lab://run").has(study()[0])
    broken = machine("one", "memory://broken/run")
    monkeypatch.setattr(type(broken.remote.files[0]), "find", lambda *_: 1 / 0)
    with pytest.raises(OSError, match=r"the run folder memory://broken/run cannot be reached \(ZeroDivisionError"):
        broken.has(study()[0])
    reason = re.escape("--slurm needs a run folder on a disk that the nodes share, got file://")
    with pytest.raises(ValueError, match=reason):
        slurm_workers(machine("one"), [Cell("fit", {})], count=1, settings={})
