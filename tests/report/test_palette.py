"""Every colour can be read on its paper, in light and in dark, and the series differ for every kind of eye."""

from itertools import combinations

import numpy as np
import pytest

from holdfast.report.palette import PAGE, SERIES, series

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
EYES = {
    "usual": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def linear(colour):
    s = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(s <= 0.04045, s / 12.92, ((s + 0.055) / 1.055) ** 2.4)


def contrast(a, b):
    """WCAG 2 contrast ratio."""
    first, second = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (second + 0.05) / (first + 0.05)


def lab(colour, eye):
    rgb = np.clip(EYES[eye] @ linear(colour), 0, 1)
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    f = np.cbrt(np.maximum(np.array(matrix) @ rgb / [0.9505, 1, 1.089], 1e-4))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("name", ["ink", "muted", "accent", "good", "bad", "warn"])
def test_text_has_contrast(name, theme):
    assert contrast(PAGE[name][theme], PAGE["paper"][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1])
def test_series_have_contrast(theme):
    assert min(contrast(pair[theme], PAGE["paper"][theme]) for pair in SERIES) >= 3


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", [0, 1])
def test_the_series_differ_for_every_eye(theme, eye):
    colours = [lab(pair[theme], eye) for pair in SERIES]
    assert min(np.linalg.norm(a - b) for a, b in combinations(colours, 2)) >= 20


def test_no_colour_stands_for_two_names():
    colours = [pair[0] for pair in (*PAGE.values(), *SERIES)]
    assert len(set(colours)) == len(colours)


def test_only_the_baseline_is_grey_however_many_there_are():
    assert [series(i)[0] for i in (0, 1, 7, 8, 14)] == ["series-0", "series-1", "series-7", "series-1", "series-7"]
