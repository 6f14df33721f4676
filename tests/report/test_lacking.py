"""What kept results lack: panels that failed or had other settings, numbers and controls that claims ask for since."""

import json
from dataclasses import replace

import pytest
from synthetic_reproduction import make_claims
from test_adding import FIRST, OTHER, WHOLE, copied, run

from holdfast import report
from holdfast.studies.reproduce.kept import read_kept
from holdfast.studies.reproduce.verdict import judge


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return report.keep_results(run(FIRST, OTHER), tmp_path_factory.mktemp("first"))


def test_what_failed_or_has_other_settings_or_numbers_is_lacking(first, tmp_path, monkeypatch):
    home = copied(first, tmp_path)
    kept = read_kept(home, "smoke")
    titles = lambda found: [(s.id, [p.title for p in s.panels]) for s in found]
    asked = [WHOLE.only(["MNIST", "Fashion-MNIST"]), OTHER]
    monkeypatch.setattr("holdfast.studies.reproduce.kept.claims", lambda: {c.id: c for c in make_claims("BE-F3")[:1]})
    kept = replace(kept, findings=kept.findings | {"BE-X1": kept.findings["BE-X1"]})
    assert kept.outdated("smoke") == set()
    assert titles(kept.lacks(asked, "smoke")) == [("BE-F3", ["Fashion-MNIST"])]
    told = json.loads((home / "manifest.json").read_text())
    mnist = told["runs"][0]["studies"]["BE-F3"]["panels"]["MNIST"]
    for change in ({"settings": "0"}, {"missing": {"corrected": {"why": "it diverged", "failed": True}}}):
        told["runs"][0]["studies"]["BE-F3"]["panels"]["MNIST"] = mnist | change
        (home / "manifest.json").write_text(json.dumps(told))
        kept = read_kept(home, "smoke")
        assert titles(kept.lacks(asked, "smoke")) == [("BE-F3", ["MNIST", "Fashion-MNIST"])]
        assert kept.outdated("smoke") == ({("BE-F3", "MNIST")} if "settings" in change else set())
        assert kept.without([FIRST]).outdated("smoke") == set()


def test_a_claim_that_asks_another_number_now_is_lacking_it(first, tmp_path, monkeypatch):
    kept = read_kept(copied(first, tmp_path), "smoke")
    asked = make_claims("BE-F3")[0]
    other = asked.model_copy(update={"evidence": (asked.evidence[0].model_copy(update={"only": "kept"}),)})
    monkeypatch.setattr("holdfast.studies.reproduce.kept.claims", lambda: {other.id: other})
    assert [s.id for s in kept.lacks([FIRST, OTHER], "smoke")] == ["BE-F3"]
    home = report.keep_results(run(OTHER, claims=[other], kept=kept.without([OTHER])), tmp_path)  # judged, not run
    assert [s.id for s in read_kept(home, "smoke").lacks([FIRST, OTHER], "smoke")] == ["BE-F3"]


def test_a_claim_that_asks_another_control_since_is_lacking_it_until_it_was_tried(first, tmp_path, monkeypatch):
    kept = read_kept(copied(first, tmp_path), "smoke")
    asked = make_claims("BE-F3")[0]
    more = (*asked.evidence[0].controls, {"treatment": "loud"}, {"treatment": "nobody"})
    asked = asked.model_copy(update={"evidence": (asked.evidence[0].model_copy(update={"controls": more}),)})
    monkeypatch.setattr("holdfast.studies.reproduce.kept.claims", lambda: {asked.id: asked})
    assert [s.id for s in kept.lacks([FIRST, OTHER], "smoke")] == ["BE-F3"]
    found = judge(asked, {}, kept.findings[asked.id]).findings[0]
    assert found.untried == ("loud", "nobody")
    yet = "it has yet to be compared with the network with logits × 100 and nobody"
    assert found.verdict == "does not hold" or yet in found.why
    home = report.keep_results(run(OTHER, claims=[asked], kept=kept.without([OTHER])), tmp_path)  # judged, not run
    assert [s.id for s in read_kept(home, "smoke").lacks([FIRST, OTHER], "smoke")] == ["BE-F3"]
    kept = read_kept(home, "smoke").without([FIRST])
    home = report.keep_results(run(FIRST, claims=[asked], kept=kept), tmp_path)
    tried = read_kept(home, "smoke")
    assert tried.lacks([FIRST, OTHER], "smoke") == []
    assert tried.findings[asked.id][0].lacking == ("nobody",)
