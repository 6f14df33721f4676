"""How accurate networks are before any attack: from rows image by image, from their means, and what is not known."""

import numpy as np
import pandas

from holdfast.report.studies.clean_accuracy import clean_accuracy
from holdfast.report.studies.summary import summary

FIRST = "Accuracy on clean images, corrected: "


def said(**tables):
    return [line.replace("\u202f", " ") for line in clean_accuracy({"corrected": tables})]


def predictions(treatment="hmc", draws=(10, 100), images=20):
    rows = [
        {"treatment": treatment, "draws": n, "image": i, "label": 1, "clean_predicted": int(i % 10 > (n == 10))}
        for n in draws
        for i in range(images)
    ]
    return pandas.DataFrame(rows)


def test_rows_and_their_means_say_the_same():
    rows = predictions()
    assert said(predictions=rows) == said(predictions=summary(rows)) == [f"{FIRST}HMC 90.0 %."]


def test_means_are_weighted_by_their_rows():
    table = pandas.DataFrame({"treatment": ["hmc", "hmc"], "rows": [3, 1], "clean_right": [1.0, 0.0]})
    assert said(accuracy=table) == [f"{FIRST}HMC 75.0 %."]


def test_many_networks_are_a_span():
    table = pandas.DataFrame({"treatment": "sgd", "width": [8, 8, 16], "accuracy": [0.5, 0.7, 0.9]})
    assert said(networks=table) == [f"{FIRST}SGD 60.0 % to 90.0 %."]


def test_what_was_not_kept_is_said():
    old = predictions()[["treatment", "draws", "image"]]
    posteriors = pandas.DataFrame({"treatment": ["hmc"], "accuracy": [0.972]})
    assert said(predictions=old) == [f"{FIRST}not kept with this figure."]
    assert said(predictions=old, posteriors=posteriors) == [
        f"{FIRST}HMC 97.2 %; that of other networks was not kept with this figure."
    ]
    assert said() == said(symmetry=pandas.DataFrame({"path": ["straight"]})) == []
    none = pandas.DataFrame({"treatment": ["hmc"], "clean_right": [np.nan]})
    assert said(accuracy=none) == []
