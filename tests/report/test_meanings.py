"""What the names mean: settings of the newest run that has a panel with the name, and of no panel that is gone."""

import json
from dataclasses import replace
from types import SimpleNamespace

from synthetic_reproduction import make_reproduction

from holdfast.report.studies.facts import meanings, of_panel
from holdfast.report.studies.keep import keep_results
from holdfast.studies.reproduce.kept import KeptRun
from holdfast.studies.reproduce.study import study_of

NOW = study_of("BE-F13")


def kept_run(panels, published, missing=()):
    told = {"why": "it was never published", "failed": False}
    panel = {"settings": "0", "missing": dict.fromkeys(missing, told)}
    studies = {
        study: {"figure": "Figure 1", "seconds": 1.0, "panels": dict.fromkeys(titles, panel)}
        for study, titles in panels.items()
    }
    settings = {"published": {title: {"shard": shard} for title, shard in published.items()}}
    more = {"seconds": 1.0, "versions": {}, "machine": "", "again": ""}
    return KeptRun.model_validate({"studies": studies, "settings": settings, **more})


def said(*runs):
    found = make_reproduction((NOW,), claims=[])
    return meanings(replace(found, kept=SimpleNamespace(runs=runs)))["published"]


def test_the_newest_run_says_what_a_name_means():
    old, new = (kept_run({"BE-F3": [title]}, {"HMC": n}) for title, n in (("Fashion-MNIST", 400), ("MNIST", 2000)))
    assert said(old, new)["HMC"] == {"shard": 2000}
    assert said(old)["HMC"] == {"shard": 400}


def test_names_of_panels_that_are_gone_are_not_said():
    names = {"HMC": 400, "Attack: FGSM": 1, "SGD": 2, "Attack: pgds": 3}
    shown = said(kept_run({"BE-F3": ["MNIST"]}, names))
    assert {"HMC", "Attack: FGSM"} <= set(shown)
    assert not {"SGD", "Attack: pgds"} & set(shown)
    assert "HMC" not in said(kept_run({"BE-F3": ["MNIST"]}, names, missing=("published",)))


def test_what_this_run_computed_says_what_its_own_names_mean():
    mean_field = make_reproduction((NOW,), claims=[])
    own = meanings(mean_field)["published"]["Mean-field posterior"]
    assert said(kept_run({"BE-F3": ["CIFAR-10"]}, {"Mean-field posterior": 7}))["Mean-field posterior"] == own
    assert "shard" not in own


def test_a_panel_of_the_manifest_says_what_is_its_own_alone(tmp_path):
    found = replace(make_reproduction((study_of("BE-F3"), study_of("GA-T1")), claims=[]), scale="laptop")
    (run,) = json.loads((keep_results(found, tmp_path) / "manifest.json").read_text())["runs"]
    panels = {(s, title): p["apart"] for s, own in run["studies"].items() for title, p in own["panels"].items()}
    assert panels["BE-F3", "MNIST"] == {}  # the first panel of the run
    for preset in found.presets:
        for study in found.studies:
            for panel in study.panels:
                own = run["settings"][preset] | panels[study.id, panel.title].get(preset, {})
                meant = of_panel(found, preset, study, panel)
                assert {title: own[title] for title in meant} == meant
    assert panels["GA-T1", "MNIST, HMC"]["published"]["HMC"]["shard"] == 5000
    assert run["settings"]["published"]["HMC"]["shard"] == 2000
