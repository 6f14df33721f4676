"""Pictures of tables of other kinds: what each drawing says it shows is what its table says."""

import re

import numpy as np
import pandas
import pytest
from synthetic_reproduction import make_study

from holdfast.report.studies.pictures import Sheet, picture_of
from holdfast.report.studies.pictures.components import LEVELS
from holdfast.report.studies.sliders import Sliders

RANDOM = np.random.default_rng(0)


def drawn(picture, name, table):
    """(heading, description) of every drawing of one panel whose corrected table is this."""
    study = make_study("GA-F3", picture)
    rows = picture_of(study).draw(Sheet(study, study.panels[0], {"corrected": {name: table}}, Sliders()))
    return [(row.heading, row.drawn["corrected"].plot) for row in rows if row.drawn]


def frames(rows):
    return pandas.concat([pandas.DataFrame({"seed": 0, **row}) for row in rows], ignore_index=True)


def numbers(text):
    return [float(v) for v in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text.replace("−", "-"))]


def test_components_are_boxes_of_the_levels():
    values = {n: RANDOM.normal(0.5, 1 / n, 500) for n in (1, 10)}
    table = frames(
        {"treatment": "hmc", "of": of, "draws": n, "level": LEVELS, "value": np.quantile(values[n], LEVELS)}
        for of in ("loss", "logit")
        for n in values
    )
    found = drawn("components", "components", table)
    assert [heading for heading, _ in found] == ["loss", "logit"]
    medians = numbers(found[0][1].description.split("Medians:")[1])
    assert medians == pytest.approx([1, np.median(values[1]), 10, np.median(values[10])], rel=1e-3)


def test_components_beyond_what_can_be_read_are_put_together():
    table = frames(
        {"treatment": "hmc", "of": "loss", "width": w, "train": n, "level": LEVELS, "value": np.array(LEVELS) * w}
        for w in (1, 2, 3, 4, 5, 6)
        for n in range(1, 8)
    )
    ((_, plot),) = drawn("components", "components", table)
    assert plot.description.count("HMC") == 6


@pytest.mark.parametrize(("over", "column"), [("draws", "agreement"), ("spread", "value"), ("width", "expected_l2")])
def test_curves_are_means_over_images(over, column):
    rows = [
        {"treatment": "hmc", "part": part, over: x, "image": range(9), column: RANDOM.normal(x, 0.1, 9)}
        for part in ("all", "tangent", "normal")
        for x in (1, 2, 4)
    ]
    ((_, plot),) = drawn("curves", "norms", frames(rows))
    said = plot.description.split("corrected.")[1]
    assert "all" not in said  # its parts are drawn instead
    assert [f"{rows[i][column].mean():.4g}" in said for i in (5, 8)] == [True, True]


def test_a_table_with_nothing_to_draw_over_has_no_curves():
    rows = [{"treatment": "hmc", "draws": 10, "image": range(5), "agreement": 0.5}]
    assert drawn("curves", "norms", frames(rows)) == []


def test_localisation_has_a_drawing_for_each_score():
    values = {name: RANDOM.random(12) for name in ("BIG", "noise")}
    table = frames(
        {"treatment": "standard", "explanation": name, "score": score, "image": range(12), "value": v}
        for name, v in values.items()
        for score in ("energy", "pointing")
    )
    table.loc[0, "value"] = np.nan
    found = drawn("localisation", "localisation", table)
    assert [heading for heading, _ in found] == ["energy", "pointing"]
    assert f"noise, Standard {np.median(values['noise']):.4g}" in found[0][1].description
    assert f"BIG, Standard {np.median(values['BIG'][1:]):.4g}" in found[0][1].description


@pytest.mark.parametrize("pixels", [{"pixel": range(16)}, {"row": np.arange(16) // 4, "column": np.arange(16) % 4}])
def test_maps_side_by_side_say_their_scales(pixels):
    table = frames(
        {"treatment": "hmc", "draws": n, "example": e, "value": np.linspace(-1 / n, 0.5 / n, 16), **pixels}
        for n in (1, 10)
        for e in range(2)
    )
    ((_, plot),) = drawn("heatmaps", "heatmaps", table)
    assert plot.description.count("10: largest 0.1") == 2
    assert plot.svg.count("<image") == 4


def test_vectors_that_are_no_image_have_no_map():
    table = frames([{"treatment": "hmc", "draws": 1, "example": 0, "pixel": range(15), "value": 1.0}])
    assert drawn("heatmaps", "heatmaps", table) == []


def test_networks_are_dots_of_their_own():
    accuracy = RANDOM.random(30)
    table = frames([{"treatment": "hmc", "member": range(30), "accuracy": accuracy, "robustness": accuracy**2}])
    ((_, plot),) = drawn("scatter", "networks", table)
    assert "HMC: ρ = 1.00" in plot.description
    assert plot.description.startswith("softmax robustness against accuracy")
