"""Paper BA as planned: what the presets mean, and what the figures share."""

from holdfast.studies import imagenet
from holdfast.studies.engine.cell import in_order
from holdfast.studies.reproduce.plan import plan
from holdfast.studies.reproduce.study import studies, study_of


def cells(preset, *names, scale="laptop"):
    parts = plan([study_of(name) for name in names], scale, [preset])
    return {c.key: c for c in in_order(cell for part in parts for cell in part.cells)}


def test_figures_share_searches_and_maps():
    table = cells("corrected", "BA-T1")
    for name in ("BA-F1", "BA-F4", "BA-F5", "BA-F6A", "BA-F6B", "BA-F7", "BA-F8", "BA-F11"):
        own = {k for k, c in cells("corrected", name).items() if c.kind in ("fit", "boundary", "boundary_map")}
        assert own, name
        assert own <= table.keys(), name


def test_failed_searches_are_let_in_as_published_only():
    for preset, failed, method, search in (
        ("published", "let in", "BSM as published", "holdfast.studies.published.boundary_as_released"),
        ("corrected", "left out", "BSM", "holdfast.attacks.nearest_boundary"),
    ):
        found = cells(preset, "BA-T1", "BA-F3", "BA-F9").values()
        maps = [c for c in found if c.kind == "boundary_map"]
        assert {c.settings["failed"] for c in found if "failed" in c.settings} == {failed}
        assert {c.settings["method"] for c in maps if "BSM" in c.settings["method"]} == {method}
        assert {c.settings["search"]["function"] for c in found if c.kind == "boundary"} == {search}


def test_gradients_of_one_function_are_compared():
    for preset, here, there in (
        ("published", "saliency", "BSM as published"),
        ("corrected", "saliency of the lead", "BSM"),
    ):
        found = [c for c in cells(preset, "BA-F3").values() if c.kind == "alignment"]
        assert found
        for cell in found:
            pair = cell.settings["pairs"]["saliency and BSM"]
            assert [cell.needs[name].settings["method"] for name in pair] == [here, there]


def test_searches_that_were_not_released_are_left_out():
    labels = {}
    for part in plan([study_of("BA-F9")], "laptop"):
        labels.setdefault(part.preset, set()).update(row["attack"] for row, _ in part.tables["distances"])
    assert labels["corrected"] - labels["published"] == {"auto_pgd"}


def test_what_is_not_at_hand_says_so(monkeypatch):
    monkeypatch.setattr(imagenet, "roots", lambda data_dir: [])  # whatever this machine has
    missing = {p.panel.data: p.missing for p in plan([study_of("BA-T1"), study_of("BA-F3")], "laptop") if p.missing}
    assert missing.keys() == {"imagenet"}
    assert "DATA/imagenet/images/<class>/*.JPEG" in missing["imagenet"]
    own = [s for s in studies().values() if s.paper == "BA"]
    planned = {p.study.id: p for p in plan(own, "smoke", ["corrected"]) if not p.missing}
    assert planned.keys() == {s.id for s in own}  # every figure has a panel that runs on what comes with the package
    used = {c.settings.get("data") for p in planned.values() for c in in_order(p.cells)}
    assert used <= {"placed", None}
