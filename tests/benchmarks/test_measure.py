"""Measuring, held to made-up clocks and known amounts of memory."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import benchmarks.__main__ as command
from benchmarks.measure import Memory, describe, entry, interleave, peak_memory, ratio


class Clock:
    """A clock that moves only when work is done."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def work(self, name, seconds):
        def run():
            self.calls.append(name)
            self.now += seconds() if callable(seconds) else seconds

        return run

    def __call__(self):
        return self.now


def test_contestants_take_turns_and_swap_order():
    clock = Clock()
    seconds = interleave({"a": clock.work("a", 2), "b": clock.work("b", 3)}, rounds=3, clock=clock)
    assert clock.calls == ["a", "b", "a", "b", "b", "a", "a", "b"]  # one warm-up each, then three rounds
    assert seconds == {"a": [2, 2, 2], "b": [3, 3, 3]}


def test_repeats_are_averaged_and_warmup_is_not_timed():
    clock = Clock()
    times = iter([100, 1, 2, 3, 4, 5, 6])
    seconds = interleave({"a": clock.work("a", lambda: next(times))}, rounds=2, repeats=3, clock=clock)
    assert seconds == {"a": [2, 5]}


def test_a_slow_moment_falls_on_all_alike():
    seconds = {"ours": [1.1, 11.0, 2.2], "floor": [1.0, 10.0, 2.0]}
    assert ratio(seconds, "ours", "floor") == pytest.approx(1.1)
    assert describe(seconds) == "median of 3 rounds: ours 2.2 s, floor 2 s"
    assert describe({"a": [0.00123], "b": [5e-6]}) == "median of 1 rounds: a 1.23 ms, b 5 us"


def test_garbage_collection_comes_back_after_a_crash():
    import gc

    def crash():
        raise KeyError("planted")

    with pytest.raises(KeyError):
        interleave({"a": crash}, warmup=0)
    assert gc.isenabled()


@pytest.mark.parametrize("arguments", [({}, 1), ({"a": print}, 0)])
def test_interleave_refuses(arguments):
    with pytest.raises(ValueError, match="at least one contestant, one round and one repeat"):
        interleave(*arguments)


@pytest.mark.parametrize(
    ("value", "kind", "holds"),
    [
        (1.1, "at_most", True), (1.2, "at_most", False), (1.1, "at_least", True), (1.0, "at_least", False),
        (float("nan"), "at_most", False), (float("inf"), "at_least", False),
    ],
)  # fmt: skip
def test_entry(value, kind, holds):
    found = entry("name", value, 1.1, kind, "detail")
    assert list(found) == ["name", "value", "bound", "kind", "holds", "detail"]
    assert found["holds"] is holds


def test_entry_refuses_another_kind():
    with pytest.raises(ValueError, match="'at_most' or 'at_least', got 'below'"):
        entry("name", 1, 1, "below")


FAMILY = """
import sys
from benchmarks.measure import entry

def run():
    {body}

def fill(megabytes):
    kept = bytearray(64 << 20)  # prepared before the work: not part of it
    return lambda: len(bytearray(b"1") * (megabytes << 20)) + len(kept)
"""


@pytest.fixture
def family(tmp_path, monkeypatch):
    """Make families in a folder of their own: name and body of `run`."""
    import benchmarks

    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(tmp_path)])
    monkeypatch.setattr(command, "HERE", tmp_path)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command.machine, "tune", lambda: {"threads": "as they were"})
    made = []

    def make(name, body):
        (tmp_path / f"{name}.py").write_text(FAMILY.format(body=body))
        made.append(f"benchmarks.{name}")
        return tmp_path / "results" / f"{name}.json"

    yield make
    for name in made:
        sys.modules.pop(name, None)


def test_families_run_in_order_and_write_their_results(family, capsys):
    last = family("aardvark", "return [entry('strength', 0.5, 0.9, 'at_least', 'half')]")
    body = "yield entry('speed', 1.0, 1.1, 'at_most'); yield entry('lost', float('nan'), 1, 'at_most')"
    first = family("scale", body)
    (command.HERE / "measure.py").write_text("\ndef run():\n    raise RuntimeError\n")
    (command.HERE / "networks_for_benchmarks.py").write_text("def build():\n    pass\n")
    assert command.families() == ["scale", "aardvark"]
    assert command.main([]) == 0  # bounds that do not hold are results, not crashes
    assert json.loads(last.read_text()) == [
        {"name": "strength", "value": 0.5, "bound": 0.9, "kind": "at_least", "holds": False, "detail": "half"}
    ]
    assert [e["value"] for e in json.loads(first.read_text())] == [1.0, None]
    said = capsys.readouterr().out
    assert said.index("scale") < said.index("aardvark")
    assert "1 of 3 bounds hold" in said
    assert "NO" in said


def test_a_crash_is_told_and_keeps_the_old_results(family, capsys):
    old = family("crashing", "raise RuntimeError('planted')")
    fine = family("fine", "return [entry('speed', 1.0, 1.1, 'at_most')]")
    old.parent.mkdir()
    old.write_text("[]\n")
    assert command.main([]) == 1
    assert old.read_text() == "[]\n"
    assert fine.is_file()
    said = capsys.readouterr()
    assert "planted" in said.err
    assert "1 of 1 bounds hold; crashed: crashing" in said.out
    assert [p.name for p in old.parent.iterdir() if p.suffix == ".tmp"] == []


def test_one_family_by_name_and_an_unknown_one(family, capsys):
    one = family("one", "return [entry('speed', 1.0, 1.1, 'at_most')]")
    two = family("two", "return []")
    assert command.main(["one"]) == 0
    assert one.is_file()
    assert not two.is_file()
    with pytest.raises(SystemExit):
        command.main(["three"])
    assert "no such family: three; there are one, two" in capsys.readouterr().err


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="resident memory is read from /proc")


@needs_proc
def test_peak_memory_sees_the_work_and_not_its_preparation_or_this_process(tmp_path, monkeypatch):
    (tmp_path / "filling.py").write_text(FAMILY.format(body="return []"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ballast = bytearray(b"1") * (256 << 20)  # must not show in the other process
    found = peak_memory("filling:fill", 100)
    assert len(ballast) == 256 << 20
    assert 100 << 20 <= found.added <= 110 << 20
    assert found.before > 64 << 20
    assert found.peak < 500 << 20


@needs_proc
def test_peak_memory_tells_why_it_failed():
    with pytest.raises(RuntimeError, match=r"benchmarks.measure:nothing failed in its process:(?s:.*)AttributeError"):
        peak_memory("benchmarks.measure:nothing")


def test_memory_added():
    assert Memory(before=10, peak=25).added == 15
