"""The section on posteriors: its numbers are the diagnosis's, and it is there only where there is one."""

import dataclasses
import re

import pandas
import pytest
import torch

from holdfast import report
from holdfast.data import Split
from holdfast.diagnostics import diagnose, diagnosis
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.networks import fc2
from holdfast.report import posteriors
from holdfast.report.figures import mixing
from holdfast.report.headline import headline
from holdfast.report.view import View
from synthetic_result import make_result

SMALL = {"epsilons": (0.1,), "rules": ("epsilon",), "layers": ("input",), "images": 20, "examples": 1}


def draws(count, chains=None):
    ensemble = Ensemble.from_networks([fc2((1, 6, 6), 3, width=6, seed=s) for s in range(count)])
    said = Diagnostics("hmc", {"chains": chains}, {"acceptance": 0.71, "divergences": 2}) if chains else None
    return Ensemble(ensemble.network, ensemble.weights, said)


@pytest.fixture(scope="module")
def result():
    data = Split(torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3)
    ensembles = {"deterministic": draws(1), "deep_ensemble": draws(5), "mean_field": draws(20, chains=2)}
    found = diagnose(ensembles, data, reference="mean_field", points=6, most=30)
    return dataclasses.replace(make_result(**SMALL), diagnosis=found)


def test_the_tables_hold_the_numbers_of_the_diagnosis(result):
    view, found = View(result), result.diagnosis
    rows = dict(posteriors.verdicts(view).groups)
    verdict = found.verdicts["mean_field"]
    assert rows["Mean-field posterior"][0] == [verdict, "20", "20", "2", "0.71", "–", "2", "–", "–"]
    assert rows["Deep ensemble"][0][:4] == ["independent draws", "5", "5", "–"]
    tables = dict(posteriors.mixing(view).groups)
    assert list(tables) == ["Deep ensemble", "Mean-field posterior"]
    own = found.functions[(found.functions.ensemble == "mean_field") & (found.functions.functions_of == "relevance")]
    assert tables["Mean-field posterior"][2][2:5] == [f"{own.iloc[0][f'rhat_{q}']:.2f}" for q in (50, 90, 99)]
    clean = found.predictions.iloc[4]
    cell = dict(posteriors.predictions(view).groups)["Deep ensemble"][0][2]
    assert cell == f"{clean.nll:.3f} ± {clean.nll_mcse:.3f}"
    partners = [row[0] for _, rows in posteriors.agreement(view).groups for row in rows]
    assert partners == ["Mean-field posterior", "Mean-field posterior", "between chains"]
    words = [row[-1] for _, rows in posteriors.differences(view).groups for row in rows]
    resolved = found.differences[found.differences.ensemble != "deterministic"].resolved
    assert [word == "" for word in words] == list(resolved)


def test_the_section_is_there_only_with_a_diagnosis(result, tmp_path):
    text = report.write(result, tmp_path / "with").read_text(encoding="utf-8")
    section = text[text.index('<section id="posteriors"') :].split("</section>")[0]
    assert result.diagnosis.verdicts["mean_field"] in section
    assert "converged" not in section
    assert "not resolved" in section
    assert (tmp_path / "with" / "figures" / "mixing_mean-field.png").is_file()
    without = dataclasses.replace(result, diagnosis=None)
    assert 'id="posteriors"' not in report.write(without, tmp_path / "without").read_text(encoding="utf-8")
    alone = make_result(("deterministic",), **SMALL)
    with pytest.raises(ValueError, match=r"'diagnosis' names the ensembles \['deep_ensemble', 'mean_field'\]"):
        dataclasses.replace(alone, diagnosis=result.diagnosis)


def test_the_figure_says_its_numbers(result):
    (plot,) = mixing(result.diagnosis, {"mean_field": "Mean field"})
    assert plot.title == f"Mean field: {result.diagnosis.verdicts['mean_field']}"
    curve = result.diagnosis.curves["mean_field"]["robustness"]
    assert f"robustness score: 90 % below {curve[90]:.2f}, 99 % below {curve[99]:.2f}" in plot.description
    assert len(re.findall("<svg", plot.inline)) == 1
    still = {"class_probability": [1.0] * 50 + [float("inf")] * 51}
    endless = dataclasses.replace(result.diagnosis, curves={"mean_field": still})
    assert "90 % below infinity" in mixing(endless)[0].description
    assert mixing(dataclasses.replace(result.diagnosis, curves={})) == []
    alone = {"mean_field": {"class_probability": [float("nan")] * 101}}
    assert mixing(dataclasses.replace(result.diagnosis, curves=alone)) == []


def with_headline(result, error):
    """The result with a Monte Carlo error of its headline."""
    row = result.comparisons[
        (result.comparisons.ensemble == result.primary.ensemble) & (result.comparisons.subset == "all")
        & (result.comparisons.attack == result.primary.attack)
    ].iloc[0]  # fmt: skip
    rows = diagnosis.differences(
        result.primary.ensemble, {"headline": (row.mean_difference, error)}, "deterministic", {"headline": (0.0, 0.0)}
    )
    frame = pandas.DataFrame([{"ensemble": name, **own} for name, own in rows])
    found = dataclasses.replace(result.diagnosis, differences=frame)
    return dataclasses.replace(result, diagnosis=found), row.mean_difference


def test_a_headline_below_two_errors_is_not_resolved(result):
    clear = make_result()
    clear = dataclasses.replace(clear, diagnosis=result.diagnosis)
    spoken, difference = with_headline(clear, 0.001)
    found = headline(View(spoken))
    assert found.verdict == "more"
    assert (
        f"The draws resolve this difference: +{difference:.4f}, with a Monte Carlo error of 0.0010."
        in dict(found.facts).values()
    )
    spoken, _ = with_headline(clear, 0.51 * difference)
    found = headline(View(spoken))
    assert found.verdict == "unclear"
    assert "But this is not resolved: it is less than two Monte Carlo errors" in found.sentence
    assert "do not resolve" in dict(found.facts)["Draws"]
    assert "Draws" not in dict(headline(View(clear)).facts)
