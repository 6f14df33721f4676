"""The study of boundary attributions, in small: what it leaves out, and that its figures are those of its parts."""

import pytest
import torch

from holdfast import data, networks, scores
from holdfast.data import Split
from holdfast.studies.boundary_attributions import METHODS, PAIRS, boundary_attributions, removal

SPLIT = data.load("placed", train=1, test=10).test
ENSEMBLE = networks.load_trained("placed-standard")
FEW = {name: METHODS[name] for name in ("BIG", "BSM", "saliency", "saliency squared", "IG from black")}


@pytest.fixture(scope="module")
def found():
    wrong = SPLIT.labels.clone()
    wrong[0] = (ENSEMBLE.predict(SPLIT.images)[0] + 1) % 5
    split = type(SPLIT)(**{**vars(SPLIT), "labels": wrong})
    return boundary_attributions(ENSEMBLE, split, region="masks", methods=FEW, steps=15)


def test_misclassified_images_are_left_out_of_everything(found):
    assert found.boundary.misclassified[0]
    assert not found.localised.used[0]
    assert found.localised.no_map == int((~found.boundary.success).sum())
    assert all(values[0].isnan().all() for values in found.maps.values())
    assert found.localised.used.sum() == found.boundary.success.sum()
    assert list(found.removal.explanation) == [*FEW, "noise", "edges", "centre", "brightness"]


def test_tables_are_those_of_the_parts(found):
    table = found.localised.table()
    assert set(table.explanation) == {*FEW, "noise", "edges", "centre", "brightness"}
    used = found.localised.used
    first, second = PAIRS[3]
    by_hand = (found.maps[first] - found.maps[second])[used].flatten(1).norm(dim=1)
    row = found.alignment.query("first == @first and second == @second and distance == 'l2'").iloc[0]
    assert row["mean"] == pytest.approx(by_hand.mean().item(), rel=1e-5)
    assert row["images"] == int(used.sum())
    energy = scores.energy_game(found.maps[first], SPLIT.masks)[used]
    rho = scores.correlation(by_hand, energy)
    pairs = "first == @first and second == @second and distance == 'l2' and score == 'energy_game'"
    assert found.correlation.query(pairs).iloc[0]["rho"] == pytest.approx(rho[0], abs=1e-5)


def test_every_method_gives_maps_and_every_pair_is_of_methods():
    found = boundary_attributions(ENSEMBLE, SPLIT[:2], region="masks", steps=6)
    assert found.maps.keys() == METHODS.keys()
    assert all(values[found.used].isfinite().all() for values in found.maps.values())
    assert METHODS.keys() >= {name for pair in PAIRS for name in pair}
    torch.testing.assert_close(found.maps["saliency squared"][found.used], found.maps["saliency"][found.used] ** 2)
    there = (found.used.nonzero()[:, 0], ...)
    factor = (SPLIT.images[:2] - found.boundary.points)[there]
    torch.testing.assert_close(found.maps["BIG, gradients alone"][there] * factor, found.maps["BIG"][there])


def test_removal_knows_which_item_decides():
    used = ENSEMBLE.predict(SPLIT.images) == SPLIT.labels
    maps = {"right": SPLIT.masks[:, None].float(), "wrong": SPLIT.second_masks[:, None].float()}
    table = removal(ENSEMBLE, SPLIT, maps, used).set_index("explanation")
    assert table.loc["right", "first"] == 1
    assert table.loc["wrong", "first"] == 0
    assert table.loc["right", "decisive"] > 0.6
    assert table.loc["wrong", "decisive"] < 0.2


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match="region must be 'masks' or 'boxes' and the images must have them"):
        boundary_attributions(ENSEMBLE, Split(SPLIT.images, SPLIT.labels), region="boxes")
    with pytest.raises(ValueError, match="got 'removed'"):
        boundary_attributions(ENSEMBLE, SPLIT, region="removed")
    boxes = Split(SPLIT.images[:4], SPLIT.labels[:4], torch.zeros(4, 4, dtype=torch.int64))
    some = {name: METHODS[name] for name in PAIRS[0]}
    empty = boundary_attributions(ENSEMBLE, boxes, region="boxes", methods=some, steps=10)
    assert empty.localised.no_region == 4
    assert len(empty.alignment) == 0
    assert empty.removal is None


def test_without_a_region_maps_are_compared_with_each_other_alone():
    some = {name: METHODS[name] for name in PAIRS[0]}
    found = boundary_attributions(ENSEMBLE, Split(SPLIT.images[:4], SPLIT.labels[:4]), methods=some, steps=10)
    assert found.localised is None
    assert len(found.correlation) == 0
    assert set(zip(found.alignment["first"], found.alignment["second"])) == {PAIRS[0]}
    assert (found.alignment["images"] == int(found.used.sum())).all()
