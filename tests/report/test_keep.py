"""What is kept of a reproduction: the judgements' numbers, means of the tables, small; and the README's table of it."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pandas
import pytest
from synthetic_reproduction import RULES, make_claims, make_reproduction, make_study

from holdfast import report
from holdfast.report.studies.cards import STATES
from holdfast.studies.reproduce.verdict import lies_there

HOME = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def found():
    return make_reproduction((make_study("BE-F3", "differences", rules=RULES),), claims=make_claims("BE-F3"))


@pytest.fixture(scope="module")
def kept(found, tmp_path_factory):
    return report.keep_results(found, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def headline_numbers():
    return runpy.run_path(str(HOME / "scripts" / "headline_numbers.py"))


def contents(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_claims_have_every_number_of_their_judgements(found, kept):
    told = {c["id"]: c for c in json.loads((kept / "claims.json").read_text())["claims"]}
    for judgement in found.judgements:
        numbers = told[judgement.claim.id]["numbers"]
        assert len(numbers) == len(judgement.findings)
        for number, finding in zip(numbers, judgement.findings):
            assert number["verdict"] == finding.verdict
            assert number["paper"] == finding.evidence.paper
            if finding.corrected is not None:
                assert number["corrected"]["low"] == pytest.approx(finding.corrected.low, rel=1e-5)
                assert [c["value"] for c in number["controls"]] == pytest.approx(
                    [n.value for _, n, _ in finding.controls], rel=1e-5
                )
        for preset, (there, total) in told[judgement.claim.id]["on_the_claimed_side"].items():
            own = [f for f in judgement.findings if getattr(f, preset) is not None]
            assert total == len(own)
            assert there == sum(lies_there(f.evidence, getattr(f, preset)) for f in own)
    assert {tuple(c["on_the_claimed_side"]["corrected"]) for c in told.values()} > {(0, 0), (0, 3)}
    rows = pandas.read_csv(kept / "claims.csv")
    assert len(rows) == sum(max(1, len(c["numbers"])) for c in told.values())
    own = rows[rows.claim == "BE-X1"]
    assert own.corrected_value.tolist() == [n["corrected"]["value"] for n in told["BE-X1"]["numbers"]]


def test_means_are_those_of_the_tables(found, kept):
    means = pandas.read_csv(kept / "tables" / "BE-F3-resilience.csv")
    table = found.tables["BE-F3", "MNIST", "corrected"]["resilience"]
    labels = {"treatment": "hmc", "attack": "fgsm", "rule": "gamma", "k": 40.0}
    pick = lambda t: t[np.logical_and.reduce([t[k] == v for k, v in labels.items()])]
    ((_, row),) = pick(means[means.preset == "corrected"]).iterrows()
    assert row.rows == 40
    assert row.k_lrp == float(f"{pick(table).k_lrp.mean():.4g}")
    labels["treatment"] = "deterministic"
    base = pick(table).set_index("image").k_lrp
    labels["treatment"] = "hmc"
    assert row.difference_q50 == float(f"{(pick(table).set_index('image').k_lrp - base).median():.4g}")


def test_manifest_says_how_it_was_run(found, kept):
    manifest = json.loads((kept / "manifest.json").read_text())
    (run,) = manifest["runs"]
    assert run["again"] == "holdfast reproduce BE-F3 --scale smoke --panel MNIST"
    assert run["studies"]["BE-F3"]["seconds"] == found.times["BE-F3"]
    assert set(run["studies"]["BE-F3"]["panels"]) == {"MNIST"}
    assert {"torch", "numpy", "python", "holdfast"} <= set(run["versions"])
    assert "cores" in run["machine"]
    assert manifest["scale"]["seeds"] == [0]


def test_links_of_the_kept_page_lead_somewhere(kept):
    text = (kept / "verdicts.html").read_text(encoding="utf-8")
    links = [link for link in re.findall(r'href="([^"#]+)"', text) if not link.startswith("data:")]
    assert links
    assert all((kept / link).is_file() for link in links)


def test_keeping_twice_gives_the_same_bytes_and_drops_what_is_gone(found, kept, tmp_path):
    home = tmp_path / "smoke"
    (home / "tables").mkdir(parents=True)
    (home / "tables" / "BE-OLD.csv").write_text("old")
    (home / "notes.md").write_text("mine")
    assert report.keep_results(found, tmp_path) == home
    again = contents(home)
    assert again.pop("notes.md") == b"mine"
    assert again == contents(kept)
    assert sum(map(len, again.values())) < 2e6


def test_more_than_the_limit_is_not_written(found, tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.report.studies.keep.LIMIT", 1000)
    with pytest.raises(ValueError, match=r"report.keep_results: \d.\d MB for .*, but at most"):
        report.keep_results(found, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_not_a_reproduction_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"report.keep_results: expected a Reproduction, got dict"):
        report.keep_results({}, tmp_path)


def test_the_readme_is_given_the_numbers_of_the_file_once(kept, headline_numbers, tmp_path):
    home, readme = tmp_path, tmp_path / "README.md"
    (home / "docs").mkdir()
    (home / "docs" / "results").symlink_to(kept.parent)
    readme.write_text("# holdfast\n\nAbove.\n\n## Install\n\nBelow.\n")
    headline_numbers["main"](home)
    first = readme.read_text()
    headline_numbers["main"](home)
    assert readme.read_text() == first
    assert first.startswith("# holdfast\n\nAbove.\n\n<!-- claims")
    assert first.endswith("<!-- end of claims -->\n\n## Install\n\nBelow.\n")
    claims = {c["id"]: c for c in json.loads((kept / "claims.json").read_text())["claims"]}
    number = claims["BE-X1"]["numbers"][0]
    row = next(line for line in first.splitlines() if line.startswith("| BE-X1 ")).replace("−", "-")
    assert f"{number['corrected']['value']:+.2f} [{number['corrected']['low']:+.2f}, " in row
    assert f"| {number['paper']:+.2f} |" in row
    assert f"| {STATES[number['verdict']][1]} {number['corrected']['value']:+.2f} [" in row
    there, total = claims["BE-X1"]["on_the_claimed_side"]["corrected"]
    assert f"] | as published 3/3, corrected {there}/{total} | **" in row
    why = claims["BE-X1"]["why"]
    assert row.endswith(f"**{claims['BE-X1']['verdict']}**: {why[0].lower()}{why[1:].rstrip('.')} |")
    assert "| k-LRP: HMC minus deterministic, FGSM, last layer, 100 draws (here 6), k = 20\u202f%, LRP-ε; " in row
    assert "Scale `smoke`. Training seeds: 0. Test images: 20. Training images: 1000" in first
    assert "One run: 0.2 core-hours on a machine of" in first


def test_numbers_of_the_readme_are_no_zero_that_they_are_not(headline_numbers):
    signed, sides = headline_numbers["signed"], headline_numbers["sides"]
    values = (0.051, -0.051, 0.0049, -0.0049, -0.0001, 0.0, -0.0, None)
    assert [signed(v) for v in values] == ["+0.05", "−0.05", "+0.005", "−0.005", "0.000", "0.00", "0.00", "–"]
    counts = {"published": [55, 60], "corrected": [6, 60]}
    assert sides({"on_the_claimed_side": counts}) == "as published 55/60, corrected 6/60"
    assert sides({"on_the_claimed_side": counts | {"published": [0, 0]}}) == "corrected 6/60"
    assert sides({"on_the_claimed_side": {"published": [0, 0], "corrected": [0, 0]}}) == sides({}) == "–"


def test_without_results_the_readme_is_left_alone(headline_numbers, tmp_path):
    with pytest.raises(SystemExit, match="There are no results"):
        headline_numbers["main"](tmp_path)


def test_the_numbers_of_this_readme_are_those_that_are_kept(headline_numbers):
    readme = (HOME / "README.md").read_text(encoding="utf-8")
    kept = [HOME / "docs" / "results" / s for s in headline_numbers["SCALES"]]
    results = next((k for k in kept if (k / "claims.json").is_file()), None)
    if results is None:
        assert headline_numbers["START"] not in readme
    else:
        assert headline_numbers["section"](results) in readme


def test_the_heaviest_drawings_are_left_to_the_page_where_all_are_too_many(found, tmp_path, monkeypatch):
    whole = report.keep_results(found, tmp_path / "whole")
    weights = {f.name: sum(d.stat().st_size for d in f.iterdir()) for f in (whole / "figures").iterdir()}
    heaviest = max(weights, key=weights.get)
    size = sum(f.stat().st_size for f in whole.rglob("*") if f.is_file())
    monkeypatch.setattr("holdfast.report.studies.keep.LIMIT", size - 1)
    with pytest.warns(UserWarning, match=f"drawings of {heaviest} are in the page alone"):
        lighter = report.keep_results(found, tmp_path / "lighter")
    assert {f.name for f in (lighter / "figures").iterdir()} == set(weights) - {heaviest}
    assert (lighter / "verdicts.html").read_bytes() == (whole / "verdicts.html").read_bytes()


def test_what_must_hold_of_the_papers_protocol_is_in_what_is_kept(headline_numbers):
    """As published the paper's order by 0.15 at least, and loud logits above HMC; corrected they gain nothing."""
    kept = [HOME / "docs" / "results" / s for s in headline_numbers["SCALES"] if s != "smoke"]
    results = next((k for k in kept if (k / "claims.json").is_file()), None)
    if results is None:
        pytest.skip("docs/results has no scale beyond smoke")
    claims = {
        c["id"]: c["numbers"] for c in json.loads((results / "claims.json").read_text(encoding="utf-8"))["claims"]
    }
    order = claims["BE-C1"][0]
    assert (order["panel"], order["where"]["treatment"], order["where"]["rule"]) == ("MNIST", "hmc", "epsilon")
    assert order["published"]["low"] >= 0.15
    beside_deterministic, beside_hmc = claims["BE-X1"]
    assert [n["against"]["treatment"] for n in claims["BE-X1"]] == ["deterministic", "hmc"]
    assert min(n["published"]["low"] for n in claims["BE-X1"]) > 0
    assert beside_deterministic["corrected"]["value"] == pytest.approx(0, abs=0.02)
    assert beside_hmc["corrected"]["high"] <= 0.02
