"""Cells of boundary attributions on linear networks and small images, where every answer has a closed form."""

import pandas
import pytest
import torch
from torch import nn

from holdfast import scores
from holdfast.data import Dataset, PlacedSplit
from holdfast.ensemble import Ensemble
from holdfast.studies import images
from holdfast.studies.engine.kind import Context, kind_of

SIDE, COUNT = 6, 8
SETTINGS = {"data": "toy", "points": COUNT, "seed": 0, "failed": "left out"}
SEARCH = {"function": "holdfast.attacks.nearest_boundary", "steps": 40}
NAMES = ("BIG", "BSM", "saliency", "IG from black", "IG from white")


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Two items an image: a bright one in the left half, which makes the label 0, and a dim one in the right half."""
    generator = torch.Generator().manual_seed(0)
    grey = 0.2 + 0.1 * torch.rand(COUNT, 1, SIDE, SIDE, generator=generator)
    left, right = (torch.zeros(COUNT, SIDE, SIDE, dtype=torch.bool) for _ in range(2))
    left[:, 1:4, 0:2], right[:, 2:5, 4:6] = True, True
    pixels = grey + 0.6 * left[:, None] + 0.2 * right[:, None]
    boxes = torch.tensor([[0, 1, 1, 3]]).expand(COUNT, 4).clone()
    others = torch.tensor([[4, 2, 5, 4]]).expand(COUNT, 4).clone()
    labels = torch.zeros(COUNT, dtype=torch.int64)
    labels[-1] = 1  # which the network decides otherwise
    split = PlacedSplit(pixels, labels, boxes, left, torch.ones(COUNT, dtype=torch.int64), others, right, grey)
    found = Dataset("toy", split, split, ("left", "right"), "none")
    monkeypatch.setattr(images, "_load", lambda name, data_dir: found)
    return split


def linear(bias=-4.0):
    """Class 0 sees the left half, class 1 the right half."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 2))
    weight = torch.zeros(2, SIDE, SIDE)
    weight[0, :, :3], weight[1, :, 3:] = 1.0, 0.5
    network[1].weight.data, network[1].bias.data = weight.flatten(1), torch.tensor([bias, 0.0])
    return Ensemble.from_networks(network), weight


def compute(kind, settings, needs, tmp_path):
    """A result as another cell gets it: written and read."""
    chosen = kind_of(kind)
    file = tmp_path / f"result{chosen.codec.suffix}"
    chosen.codec.write(file, chosen.compute(SETTINGS | settings, needs, Context()))
    return chosen.codec.read(file)


def explained(ensemble, tmp_path, names=NAMES, search=SEARCH, **settings):
    needs = {"ensemble": ensemble}
    needs["boundary"] = compute("boundary", {"search": search}, needs, tmp_path)
    maps = {name: compute("boundary_map", {"method": name} | settings, needs, tmp_path) for name in names}
    return needs | maps


def test_distances_are_those_to_the_hyperplane(tmp_path, toy):
    ensemble, weight = linear()
    found = explained(ensemble, tmp_path, names=())
    table = compute("boundary_distances", {}, {"boundary": found["boundary"]}, tmp_path)
    lead = ensemble.logits(toy.images)[0] @ torch.tensor([1.0, -1.0])
    exact = (lead / (weight[0] - weight[1]).norm()).numpy()
    assert table.correct.tolist() == [True] * (COUNT - 1) + [False]
    assert table.distance[:-1].to_numpy() == pytest.approx(exact[:-1], rel=2e-3)
    assert table.distance.isna().tolist() == table.found.isna().tolist() == [False] * (COUNT - 1) + [True]
    assert (table.gap[:-1] <= 1e-3).all()


def test_maps_of_a_linear_network_are_its_weights(tmp_path):
    ensemble, weight = linear()
    found = explained(ensemble, tmp_path, names=("BSM", "BSM as published", "saliency", "saliency of the lead"))
    lead = weight[0] - weight[1]
    expectations = {"BSM": lead, "BSM as published": weight[0], "saliency": weight[0], "saliency of the lead": lead}
    for name, expected in expectations.items():
        maps = found[name][0]["maps"]
        torch.testing.assert_close(maps[:-1], expected.expand(COUNT - 1, 1, SIDE, SIDE))
        assert maps[-1].isnan().all()


def test_alignment_image_by_image(tmp_path):
    ensemble, weight = linear()
    found = explained(ensemble, tmp_path)
    needs = {k: v for k, v in found.items() if k != "ensemble"}
    located = compute("localisation", {"region": "boxes"}, needs, tmp_path)
    pairs = {"pairs": {"saliency and BSM": ["saliency", "BSM"], "black and white": ["IG from black", "IG from white"]}}
    table = compute("alignment", pairs, needs | {"localisation": located}, tmp_path)
    assert len(table) == 2 * 3 * COUNT
    first = table[table.pair == "saliency and BSM"]
    l2 = first[first.distance == "l2"].value
    assert l2[:-1].to_numpy() == pytest.approx(weight[1].norm().item())
    assert l2.isna().iloc[-1]
    cosine = first[first.distance == "cosine"].value[:-1]
    assert cosine.to_numpy() == pytest.approx((weight[0].norm() / (weight[0] - weight[1]).norm()).item(), abs=1e-5)
    black_white = table[(table.pair == "black and white") & (table.distance == "cosine")].value[:-1]
    assert (black_white < 0).all()  # x w against (x - 1) w
    saliency = located[(located.explanation == "saliency") & (located.score == "energy_game")].value
    assert first[first.distance == "l2"].energy_game[:-1].tolist() == saliency[:-1].tolist()


def test_localisation_beside_maps_that_know_nothing(tmp_path, toy):
    ensemble, _ = linear()
    found = explained(ensemble, tmp_path)
    table = compute("localisation", {"region": "masks"}, {k: v for k, v in found.items() if k != "ensemble"}, tmp_path)
    assert set(table.explanation) == {*NAMES, "noise", "edges", "centre", "brightness"}
    own = table[(table.explanation == "BIG") & (table.score == "energy_game")]
    expected = scores.energy_game(found["BIG"][0]["maps"][:-1], toy.masks[:-1])
    assert own.value[:-1].to_numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    assert table[table.image == COUNT - 1].value.isna().all()  # the same images for all
    with pytest.raises(ValueError, match="the images of toy have no outlines"):
        compute("localisation", {"region": "outlines"}, {"boundary": found["boundary"]}, tmp_path)


def test_failed_searches_are_left_out_or_let_in(tmp_path):
    ensemble, _ = linear(bias=100.0)  # nothing in [0, 1] is decided otherwise
    search = {"function": "holdfast.studies.published.boundary_as_released", "radii": [0.1, 0.2], "steps": 3}
    needs = {"ensemble": ensemble}
    needs["boundary"] = compute("boundary", {"search": search}, needs, tmp_path)
    for failed, shown in (("left out", False), ("let in", True)):
        maps = compute("boundary_map", {"method": "BIG", "failed": failed}, needs, tmp_path)[0]["maps"]
        assert maps[:-1].isfinite().all() == shown
        assert maps[-1].isnan().all()
        table = compute("boundary_distances", {"failed": failed}, {"boundary": needs["boundary"]}, tmp_path)
        assert table.distance[:-1].notna().all() == shown
        assert (table.found[:-1] == 0).all()
    with pytest.raises(ValueError, match="failed must be 'left out' or 'let in', got 'in'"):
        compute("boundary_map", {"method": "BIG", "failed": "in"}, needs, tmp_path)


def test_removal_of_the_item_that_makes_the_label(tmp_path, toy):
    ensemble, _ = linear(bias=-5.0)
    decided = ensemble.predict(toy.images)[:-1]
    without = ensemble.predict(toy.removed("first"))[:-1], ensemble.predict(toy.removed("second"))[:-1]
    assert (decided == 0).all()
    assert (without[0] == 1).all()
    assert (without[1] == 0).all()
    table = compute("removal", {}, explained(ensemble, tmp_path), tmp_path)
    table = table[table.image < COUNT - 1]
    big, white = (table[table.explanation == name] for name in ("BIG", "IG from white"))
    assert (big.points_at_brighter == 1).all()
    assert (big.decisive == 1).all()
    assert (big.beyond_chance == 0.5).all()
    assert (white.points_at_brighter == 0).all()
    assert (white.beyond_chance == -0.5).all()


def test_properties_of_paths(tmp_path):
    ensemble, _ = linear()
    table = compute("path_properties", {}, explained(ensemble, tmp_path), tmp_path)
    seen = table[table.image < COUNT - 1].groupby("explanation")
    assert (seen.completeness.max() < 1e-4).all()
    assert seen.end_gap.max()["BIG"] < 1e-3 < seen.end_gap.min()["IG from black"]
    assert seen.end_decides.mean().to_dict() == {"BIG": 1.0, "IG from black": 1.0, "IG from white": 0.0}


def test_symmetry_needs_a_straight_path(tmp_path):
    table = compute("path_symmetry", {"steps": 100, "points": 5}, {}, tmp_path).groupby("path")
    means = table[["u", "v", "imbalance"]].mean()
    assert means.loc["straight"].tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert means.loc["u after v"].tolist() == pytest.approx([1.0, 0.0, 1.0])
    assert means.loc["v after u"].tolist() == pytest.approx([0.0, 1.0, -1.0])


def test_a_smoothed_linear_network_has_the_same_gradient_everywhere(tmp_path):
    ensemble, _ = linear()
    smooth = {"smooth": {"function": "holdfast.attacks.noisy_copies", "spread": 0.05, "copies": 3}}
    needs = {"ensemble": ensemble}
    needs["boundary"] = compute("boundary", {"search": SEARCH} | smooth, needs, tmp_path)
    table = compute("smoothing", smooth | {"of": "lead"}, needs, tmp_path)
    wide = table.pivot(index="image", columns="distance", values="value").dropna()
    assert len(wide) >= COUNT - 1
    assert wide.l2.max() < 1e-5
    assert wide.cosine.min() == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match="of must be 'class' or 'lead', got 'all'"):
        compute("smoothing", smooth | {"of": "all"}, needs, tmp_path)


def test_sheets_hold_every_pixel(tmp_path, toy):
    ensemble, _ = linear()
    found = explained(ensemble, tmp_path)
    needs = {k: v for k, v in found.items() if k != "ensemble"}
    table = compute("boundary_sheet", {"examples": 2}, needs, tmp_path)
    assert isinstance(table, pandas.DataFrame)
    assert len(table) == len(NAMES) * 2 * SIDE * SIDE
    pixel = table[(table.explanation == "BIG") & (table.example == 1) & (table.row == 3) & (table.column == 1)].iloc[0]
    assert pixel.value == found["BIG"][0]["maps"][1, 0, 3, 1].item()
    assert pixel.image_value == toy.images[1, 0, 3, 1].item()
    assert pixel.inside
    assert table[table.explanation == "BIG"].inside.sum() == 2 * toy.masks[0].sum()
