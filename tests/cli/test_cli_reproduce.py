"""holdfast reproduce: what is refused before any work."""

import json

import pytest
from typer.testing import CliRunner

from holdfast.cli import app
from holdfast.studies.reproduce.claim import claims
from holdfast.studies.reproduce.kept import finding_to_json, settings_of, sizes_of
from holdfast.studies.reproduce.plan import plan
from holdfast.studies.reproduce.study import study_of
from holdfast.studies.reproduce.verdict import judge


def refused(*arguments):
    result = CliRunner().invoke(app, ["reproduce", *arguments])
    assert isinstance(result.exception, ValueError)
    return str(result.exception)


def test_a_panel_that_a_figure_does_not_have():
    assert "BE-F9 has no panel called 'MNIST'; its panels are '(a) FGSM', '(b) PGD'" in refused(
        "BE-F3", "BE-F9", "--panel", "MNIST"
    )
    assert "no figure has a panel called 'Mars'" in refused("all", "--panel", "Mars")


@pytest.mark.parametrize("options", [["--preset", "right"], ["--slurm", "partition=cpu", "--cluster", "tcp://here:1"]])
def test_options_that_make_no_sense(options):
    assert "reproduce: " in refused("BE-F3", *options)


def test_a_figure_that_is_none():
    assert "BE-F99" in refused("BE-F99")


def test_nothing_is_finished_in_a_new_run_folder(tmp_path):
    said = refused("BE-F3", "--finished", "--run", str(tmp_path / "run"))
    assert "no panel of what was asked for is finished in" in said
    assert "without --finished it is computed" in said


def test_adding_needs_results_to_add_to_and_both_presets(tmp_path):
    assert "--add needs --keep" in refused("BE-F3", "--add")
    assert "--add needs both presets" in refused("BE-F3", "--add", "--keep", str(tmp_path), "--preset", "corrected")
    (tmp_path / "smoke").write_text("a file")
    assert f"--keep: {tmp_path}/smoke is a file" in refused("BE-F3", "--keep", str(tmp_path))


def test_what_is_kept_is_not_computed_again_and_what_had_other_settings_is_not_mixed_in(tmp_path):
    studies = [study_of("TH-2"), study_of("BE-F3")]
    own = settings_of(plan(studies, "smoke"))
    panels = lambda study: {p.title: {"settings": own[study.id, p.title]} for p in study.panels}
    told = {s.id: {"figure": s.figure, "panels": panels(s), "seconds": 1.0} for s in studies}
    run = {"studies": told, "seconds": 1.0, "versions": {}, "machine": "one", "again": "the command"}
    kept = tmp_path / "smoke"
    kept.mkdir()
    numbers = [
        finding_to_json(finding) | {"controls": [], "why": "made up."}
        for claim in claims().values()
        for finding in judge(claim, {}).findings
    ]
    (kept / "claims.json").write_text(json.dumps({"claims": [{"id": c, "numbers": numbers} for c in claims()]}))
    article = lambda s: "".join(
        f'  <div class="panel">\n    <h4>{p.title} <span></span></h4>\n  </div>\n' for p in s.panels
    )
    page = (
        f'<article class="study" id="{s.id.lower()}">\n{article(s)}  <p class="read"></p></article>' for s in studies
    )
    (kept / "verdicts.html").write_text("".join(page))
    manifest = {"scale": sizes_of("smoke"), "presets": ["published", "corrected"], "runs": [run]}
    (kept / "manifest.json").write_text(json.dumps(manifest))
    before = {f: f.read_bytes() for f in kept.iterdir()}
    options = ["--keep", str(tmp_path), "--add", "--run", str(tmp_path / "run")]
    said = " ".join(CliRunner().invoke(app, ["reproduce", "BE-F3", "--scale", "smoke", *options]).output.split())
    assert "has all of what was asked for: its claims are judged anew" in said
    assert json.loads((kept / "manifest.json").read_text())["runs"][0]["studies"].keys() == told.keys()
    before = {f: f.read_bytes() for f in kept.iterdir() if f.is_file()}
    told["TH-2"]["panels"]["Curves"]["settings"] = "0"
    before[kept / "manifest.json"] = json.dumps(manifest).encode()
    (kept / "manifest.json").write_text(json.dumps(manifest))
    assert "TH-2 'Curves' in" in refused("BE-F9", *options)
    assert {f: f.read_bytes() for f in kept.iterdir() if f.is_file()} == before
