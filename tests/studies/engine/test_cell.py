"""Cells: what makes two of them the same."""

import dataclasses
from pathlib import Path

import pytest

from holdfast import studies
from holdfast.studies.engine import Cell, kind_of
from holdfast.studies.engine.cell import in_order
from holdfast.studies.functions import function_of


def fit(seed=0, **more):
    return Cell("fit", {"data": "fashion-mini", "seed": seed, **more})


def test_a_key_depends_on_settings_needs_and_kind():
    one = Cell("attack", {"points": 5}, {"ensemble": fit()})
    same = Cell("attack", {"points": 5}, {"ensemble": fit()})
    others = [
        Cell("attack", {"points": 6}, {"ensemble": fit()}),
        Cell("attack", {"points": 5}, {"ensemble": fit(1)}),
        Cell("attack", {"points": 5}, {"other": fit()}),
        Cell("predictions", {"points": 5}, {"ensemble": fit()}),
    ]
    assert one.key == same.key
    assert len({c.key for c in [one, *others]}) == 5


def test_the_order_of_settings_does_not_matter():
    assert Cell("fit", {"a": 1, "b": 2}).key == Cell("fit", {"b": 2, "a": 1}).key


def test_needs_come_first_and_once():
    base = fit()
    attack = Cell("attack", {}, {"ensemble": base})
    judged = Cell("predictions", {}, {"ensemble": base, "attack": attack})
    again = Cell("predictions", {}, {"ensemble": fit(), "attack": attack})
    assert [c.kind for c in in_order([judged, again, base])] == ["fit", "attack", "predictions"]


def test_a_copy_has_the_same_key():
    cell = fit()
    assert dataclasses.replace(cell).key == cell.key


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match=r"no kind of cell is called 'cook'; there are .*attack, .*fit"):
        kind_of("cook")


@pytest.mark.parametrize("name", ["os.system", "holdfast.studies.stage_key.version", "holdfast.attacks.no_such"])
def test_settings_name_functions_of_holdfast_and_no_others(name):
    with pytest.raises(ValueError, match="studies: "):
        function_of(name)


def test_a_cell_runs_its_kinds_own_file_and_what_cells_share():
    home = Path(studies.__file__).parents[1]
    for kind in (f.stem for f in (home / "studies/cells").glob("[a-z]*.py")):
        rooms = Cell(kind, {"function": "holdfast.studies.controls.loud"}).rooms
        assert {f"studies/cells/{kind}", "studies/draws", "studies/images", "studies/controls"} <= set(rooms)
        for room in rooms:  # a name that leads nowhere would make a key that no change of code changes
            assert (home / room).is_dir() or (home / f"{room}.py").is_file(), room
