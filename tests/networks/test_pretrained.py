"""Pretrained networks by name: what is asked of the libraries, their normalisation, and what is said without them."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from holdfast.networks import load_pretrained

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def flat_network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture
def stand_ins(monkeypatch):
    """Modules of the two libraries' public shape, which know `resnet50` alone."""
    network = flat_network()

    def made(name, **given):
        asked.append((name, given))
        if name != "resnet50":
            raise ValueError(f"Unknown model {name}")
        return network

    asked = []
    weights = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: SimpleNamespace(mean=MEAN, std=STD)))
    models = SimpleNamespace(get_model=made, get_model_weights=lambda name: weights)
    configuration = SimpleNamespace(resolve_model_data_config=lambda network: {"mean": MEAN, "std": STD})
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=made, data=configuration))
    return network, asked


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_images_are_normalised_as_the_weights_ask(stand_ins, library):
    network, asked = stand_ins
    found = load_pretrained(f"{library}/resnet50")
    assert not found.training
    assert asked[0][1].get("pretrained", asked[0][1].get("weights"))
    x = torch.rand(2, 3, 8, 8)
    by_hand = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(found(x), network.eval()(by_hand))


def test_what_is_wrong_is_said(stand_ins, monkeypatch):
    with pytest.raises(ValueError, match="name must be 'torchvision/<model>' or 'timm/<model>', got 'resnet50'"):
        load_pretrained("resnet50")
    with pytest.raises(ValueError, match="timm could not make 'resnet51': Unknown model resnet51"):
        load_pretrained("timm/resnet51")
    for library in ("torchvision", "timm"):
        monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
        with pytest.raises(ImportError, match=f"{library} is not installed .*pip install {library}"):
            load_pretrained(f"{library}/resnet50")
