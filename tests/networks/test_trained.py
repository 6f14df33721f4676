"""The networks that come with the package: what they are, and that their record is true of them."""

import pytest
import torch

from holdfast import attacks, data, networks
from holdfast.budget import Budget
from holdfast.networks.trained import FOLDER


def test_compact_is_a_residual_network_that_halves_three_times():
    network = networks.compact((3, 32, 32), 7, width=8)
    sizes = []
    for name in ("conv", "block1", "block2", "block3"):
        getattr(network, name).register_forward_hook(lambda m, i, o: sizes.append(tuple(o.shape[1:])))
    assert network.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert sizes == [(8, 16, 16), (8, 16, 16), (16, 8, 8), (32, 4, 4)]
    assert isinstance(networks.build("compact", (1, 56, 56), 5), type(network))
    with pytest.raises(ValueError, match="width must be even"):
        networks.compact((1, 8, 8), 2, width=7)


@pytest.mark.parametrize("name", networks.TRAINED)
def test_the_record_is_true(name, request):
    ensemble, record = networks.load_trained(name), networks.load_trained(name).diagnostics
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 2_000_000
    if networks.TRAINED[name].data == "placed":
        split, checksum = data.load("placed", train=1).test[:300], data.load("placed").checksum
    else:
        dataset = data.load(networks.TRAINED[name].data, data_dir=request.getfixturevalue("data_dir"))
        split, checksum = dataset.test[:500], dataset.checksum
    right = (ensemble.predict(split.images) == split.labels).double().mean().item()
    assert right == pytest.approx(record.summary["test_accuracy"], abs=0.03)
    assert len(record.history["loss"]) == record.settings["epochs"]
    assert record.settings["data"] == checksum


@pytest.mark.parametrize("name", ["placed-standard", "placed-robust"])
def test_networks_on_placed_are_right_on_more_than_95_percent(name):
    assert networks.load_trained(name).diagnostics.summary["test_accuracy"] > 0.95


def test_the_robust_network_withstands_what_fools_the_standard_one():
    split = data.load("placed", train=1).test[:40]
    left = {}
    for name in ("placed-standard", "placed-robust"):
        ensemble = networks.load_trained(name)
        attacked = attacks.pgd(ensemble, split.images, split.labels, budget=Budget("l2", 0.5), steps=10)
        left[name] = attacked.accuracy(split.labels)[0]
    assert left["placed-standard"] < 0.4
    assert left["placed-robust"] > 0.75


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no network called 'placed'; there are placed-standard"):
        networks.load_trained("placed")
