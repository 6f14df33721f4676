"""The sheet of one image: a readable PNG, also where no boundary point was found, and clear errors."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from holdfast.attacks import nearest_boundary
from holdfast.ensemble import Ensemble
from holdfast.report.figures import explanation_sheet


def made(bias):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 36, 2))
    network[1].bias.data = torch.tensor([0.0, bias])
    x = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return x, nearest_boundary(Ensemble.from_networks(network), x, steps=20)


def pixels_of(png):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_red_is_for_and_blue_against():
    x, found = made(0.0)
    for sign in (1, -1):
        picture = pixels_of(explanation_sheet(x[0], {"map": sign * torch.ones(3, 6, 6)}, found, ("a", "b")))
        panel = picture[60:-20, 3 * picture.shape[1] // 5 : 4 * picture.shape[1] // 5].astype(int)
        red, blue = (panel[..., 0] - panel[..., 2] > 60).sum(), (panel[..., 2] - panel[..., 0] > 60).sum()
        assert (red > 10 * blue) if sign > 0 else (blue > 10 * red)


def test_a_failed_search_is_shown_as_such():
    x, found = made(1e4)
    assert not found.success[0]
    png = explanation_sheet(x[0], {"BIG": torch.full((3, 6, 6), torch.nan)}, found, ("a", "<b>"))
    assert pixels_of(png).shape[2] == 3


def test_wrong_input_is_explained():
    x, found = made(0.0)
    with pytest.raises(ValueError, match="map 'm' has shape"):
        explanation_sheet(x[0], {"m": torch.zeros(6, 6)}, found, ("a", "b"))
    with pytest.raises(ValueError, match=r"boundary must be of one image, got 0"):
        explanation_sheet(x[0], {}, found[:0], ("a", "b"))
