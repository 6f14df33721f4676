"""Networks that have not learnt are told of, from the tables of a run and from those that were kept."""

import dataclasses

import pandas
import pytest
from synthetic_reproduction import make_reproduction

from holdfast import report
from holdfast.report.studies.unlearnt import kept_rows, rows_of, unlearnt


def predictions(right, draws=(10, 100)):
    """Tables of two treatments; with the fewer draws nothing is right."""
    rows = [
        {
            "treatment": treatment,
            "draws": n,
            "image": i,
            "label": 1,
            "clean_predicted": int(n == max(draws) and i < own),
        }
        for treatment, own in (("hmc", 9), ("mean_field", right))
        for n in draws
        for i in range(10)
    ]
    return {"predictions": pandas.DataFrame(rows)}


@pytest.mark.parametrize(("right", "told"), [(4, True), (5, False)])
def test_those_that_are_wrong_on_most_images(right, told):
    found = dataclasses.replace(
        make_reproduction(), scale="laptop", tables={("BE-F3", "MNIST", "published"): predictions(right)}
    )
    assert list(rows_of(found)) == [
        ("BE-F3", "published", "hmc", 0.9),
        ("BE-F3", "published", "mean_field", right / 10),
    ]
    text = unlearnt(rows_of(found))
    assert bool(text) is told
    assert ("the mean-field posterior is right on 40.0\u202f% of the clean images in BE-F3" in text) is told
    assert "HMC" not in text
    assert list(rows_of(dataclasses.replace(found, scale="smoke"))) == []


def test_those_that_were_kept(tmp_path):
    (tmp_path / "tables").mkdir()
    rows = [
        {"panel": panel, "preset": "corrected", "treatment": "adversarial", "clean_right": right, "rows": n}
        for panel, right, n in (
            ("MNIST", 0.2, 30),
            ("MNIST", 0.6, 10),
            ("Fashion-MNIST", 0.9, 10),
            ("CIFAR-10", None, 9),
        )
    ]
    pandas.DataFrame(rows).to_csv(tmp_path / "tables" / "BE-F3-predictions.csv", index=False)
    pandas.DataFrame(rows).to_csv(tmp_path / "tables" / "ZZ-F3-predictions.csv", index=False)  # nobody knows it
    found = {row[-1] for row in kept_rows(tmp_path)}
    assert sorted(found) == [pytest.approx(0.3), 0.9]
    assert [row[:3] for row in kept_rows(tmp_path, [("BE-F3", "MNIST")])] == [("BE-F3", "corrected", "adversarial")]
    assert list(kept_rows(tmp_path, [])) == []


def test_of_many_networks_those_that_have_not_learnt_are_counted():
    rows = [("hmc", 32, 0.2), ("hmc", 64, 0.9), ("hmc", 128, 0.495), ("sgd", 32, 0.9), ("prior_draws", 32, 0.1)]
    networks = pandas.DataFrame([dict(zip(("treatment", "width", "accuracy"), row, strict=True)) for row in rows])
    norms = pandas.DataFrame(
        [{"treatment": "hmc", "draws": n, "image": i, "right": n == 5 and i == 0} for n in (1, 5) for i in range(4)]
    )
    tables = {("GA-F4", "MNIST", "published"): {"networks": networks}, ("TH-3", "MNIST", "corrected"): {"norms": norms}}
    text = unlearnt(rows_of(dataclasses.replace(make_reproduction(), scale="laptop", tables=tables)))
    assert "as published, HMC is right on 20.0 to 49.5\u202f% of the clean images in GA-F4 (2 of 3 networks);" in text
    assert "corrected, HMC is right on 25.0\u202f% of the clean images in TH-3." in text
    assert "rior" not in text


def test_it_stands_above_the_claims(tmp_path):
    found = make_reproduction()
    tables = {name: {**own, **predictions(1)} for name, own in found.tables.items()}
    page = report.write_verdicts(dataclasses.replace(found, scale="laptop", tables=tables), tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.index("Some networks have not learnt") < text.index('class="verdicts"')
    page = report.write_verdicts(dataclasses.replace(found, tables=tables), tmp_path / "smoke")
    assert "Some networks have not learnt" not in page.read_text(encoding="utf-8")
