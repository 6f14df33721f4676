"""ImageNet as the user has it: what is taken, what it is called, what is said where it is not there, and the panels."""

import json
import sys

import made_imagenet as made
import pytest
import torch

from holdfast import report
from holdfast.data import DataError
from holdfast.networks import load_pretrained
from holdfast.studies import imagenet
from holdfast.studies.engine import Cell, Context, Store, execute
from holdfast.studies.engine.cell import in_order
from holdfast.studies.reproduce.kept import Kept, KeptPanel, settings_of
from holdfast.studies.reproduce.plan import plan
from holdfast.studies.reproduce.run import reproduce
from holdfast.studies.reproduce.study import studies, study_of

PANELS = [study_of(name).only(["ImageNet"]) for name in ("BA-T1", "BA-F3")]


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """DATA with a made-up `imagenet`, and a module `torchvision`; what this machine has is out of sight."""
    monkeypatch.setattr(imagenet, "roots", lambda given: [given] if given else [])
    monkeypatch.setitem(sys.modules, "torchvision", made.torchvision())
    made.write_folder(tmp_path / "DATA" / "imagenet")
    return tmp_path / "DATA"


def only_missing(data_dir, preset="corrected"):
    (part,) = plan(PANELS[:1], "smoke", [preset], data_dir=data_dir)
    assert part.not_here
    assert not part.tables
    return part.missing


def treatments(data_dir):
    (part,) = plan(PANELS[:1], "smoke", ["corrected"], data_dir=data_dir)
    assert not part.missing
    return [row["treatment"] for row, _ in part.tables["localisation"]]


def test_what_is_not_there_is_said_with_what_to_put_where(data_dir, tmp_path, monkeypatch):
    folder = data_dir / "imagenet"
    for said in (only_missing(tmp_path), only_missing(None)):
        assert "ImageNet cannot be passed on" in said
        for part in ("images/<class>/*.JPEG", "boxes/<class>/*.xml", "robust_resnet50.safetensors or .pt"):
            assert f"DATA/imagenet/{part}" in said
        assert str(tmp_path) not in said  # it is kept with the results
    (folder / "images" / "n02").mkdir()
    assert "images has 3 folders, such as n02; which classes they are is known for Imagenette" in only_missing(data_dir)
    (folder / "images" / "n02").rmdir()
    monkeypatch.setitem(sys.modules, "torchvision", None)  # as if it were not installed
    assert "torchvision is not installed" in only_missing(data_dir)
    monkeypatch.setitem(sys.modules, "torchvision", made.torchvision())
    (folder / "boxes").rename(folder / "annotations")
    assert "DATA/imagenet has no folder 'boxes'" in only_missing(data_dir)
    (folder / "boxes").mkdir()
    assert "boxes has no annotation of the images that are taken" in only_missing(data_dir)


def test_other_panels_are_planned_alike_with_and_without(data_dir):
    made.write_robust(data_dir / "imagenet" / "robust_resnet50.pt")
    own = [study for study in studies().values() if study.paper == "BA"]
    without, having = (plan(own, "laptop", data_dir=given) for given in (None, data_dir))
    assert {p.panel.title for p in without if p.not_here} == {"ImageNet"}
    before, after = settings_of(without), settings_of(having)
    assert {name for name in before if before[name] != after[name]} == {(s.id, "ImageNet") for s in PANELS}
    keys = lambda parts: {c.key for c in in_order(c for p in parts if p.panel.title != "ImageNet" for c in p.cells)}
    assert keys(without) == keys(having)


def test_images_are_named_by_their_content(data_dir):
    folder = data_dir / "imagenet"
    chosen = imagenet.choose(data_dir, 2)
    assert (chosen.per_class, chosen.numbers["n03888257"]) == (1, 701)
    for part, ending in (("images", "JPEG"), ("boxes", "xml")):  # of the second image of a class, which is not taken
        file = folder / part / "n01440764" / f"ILSVRC2012_val_00000001.{ending}"
        file.write_bytes(file.read_bytes() + b"\n")
    assert imagenet.choose(data_dir, 2) == chosen
    named = imagenet.images(data_dir, 4)["data"]
    (folder / "boxes" / "n01440764" / "ILSVRC2012_val_00000001.xml").unlink()
    assert imagenet.images(data_dir, 4)["data"] != named
    with pytest.raises(DataError, match=f"but the run was planned with {named}; put those back"):
        imagenet.read(data_dir, named, 4)


def test_labels_and_boxes_are_those_of_the_folder(data_dir):
    data = imagenet.read(data_dir, imagenet.images(data_dir, 100)["data"], 100)
    assert data.test.labels.tolist() == [0, 0, 701, 701]
    assert data.shape == (3, 224, 224)
    assert not data.test.degenerate.any()
    x0, y0, x1, y1 = data.test.boxes[0].tolist()
    assert data.test.images[0, 0, y0 + 4 : y1 - 4, x0 + 4 : x1 - 4].mean() > 0.7  # the red object


def test_a_thousand_folders_are_counted(data_dir):
    folder = data_dir / "imagenet"
    for number in range(998):
        (folder / "images" / f"n9{number:07}").mkdir()
    assert imagenet.choose(data_dir, 500).numbers is None
    assert imagenet.choose(data_dir, 500).per_class == 1


@pytest.mark.parametrize("name", imagenet.ROBUST)
def test_networks_are_those_that_were_planned(data_dir, tmp_path, name, monkeypatch):
    assert treatments(data_dir) == ["standard"]
    file = data_dir / "imagenet" / name
    made.write_robust(file)
    assert treatments(data_dir) == ["standard", "robust"]
    store, images = Store(tmp_path / "run", Context(data_dir=data_dir)), torch.rand(2, 3, 64, 64)
    for seed, own in ((1, False), (3, True)):
        settings = imagenet.network(data_dir, "torchvision/resnet50", own)
        (outcome,) = execute(store, [cell := Cell("pretrained", settings)])
        assert outcome.state == "computed", outcome.message
        expected = load_pretrained("torchvision/resnet50")
        expected.network.load_state_dict(made.StandIn(seed).state_dict())
        with torch.no_grad():
            torch.testing.assert_close(store.read(cell).logits(images)[0], expected(images))
    made.write_robust(file, seed=4)
    (outcome,) = execute(Store(tmp_path / "other", store.context), [cell])
    assert "has the robust weights that the run was planned with" in outcome.message
    standard = Cell("pretrained", imagenet.network(data_dir, "torchvision/resnet50", False) | {"weights": "older"})
    (outcome,) = execute(store, [standard])
    assert "has the weights ResNet50_Weights.DEFAULT here, but the run was planned with older" in outcome.message


def test_nothing_of_the_users_weights_is_unpickled(data_dir, tmp_path):
    torch.save(made.StandIn(1), data_dir / "imagenet" / "robust_resnet50.pt")  # a whole network: code, not tensors
    settings = imagenet.network(data_dir, "torchvision/resnet50", True)
    (outcome,) = execute(Store(tmp_path / "run", Context(data_dir=data_dir)), [Cell("pretrained", settings)])
    assert "cannot be read as tensors alone" in outcome.message


def test_the_panels_from_folder_to_page(data_dir, tmp_path):
    """Both figures, both ways, with both networks; a second call computes nothing."""
    made.write_robust(data_dir / "imagenet" / "robust_resnet50.safetensors")
    for image in (data_dir / "imagenet" / "images").glob("*/*1.JPEG"):  # one of each class is enough
        image.unlink()
    store = Store(tmp_path / "run", Context(data_dir=data_dir))
    found = reproduce(PANELS, store, scale="smoke")
    assert not found.missing
    for (study, _, _), tables in found.tables.items():
        assert set(tables["alignment"].treatment) == {"standard", "robust"}, study
        assert tables["alignment"].correct.all()
        for table in (tables["localisation"], tables["alignment"]):
            assert table.image.nunique() == 2
            assert table.value.notna().any()
        energy = tables["localisation"].query("explanation == 'BIG' and score == 'energy_game'")
        assert energy.value.between(0, 1).tolist() == [True] * 4
    assert "ImageNet" in report.write_verdicts(found, store.path).read_text(encoding="utf-8")
    manifest = json.loads((report.keep_results(found, tmp_path / "kept") / "manifest.json").read_text())
    own = manifest["runs"][0]["studies"]["BA-T1"]["panels"]["ImageNet"]
    assert own["settings"] == settings_of(found.parts)["BA-T1", "ImageNet"]
    states = []
    reproduce(PANELS, store, scale="smoke", report=lambda outcome, done, total: states.append(outcome.state))
    assert set(states) == {"reused"}


def test_results_of_the_panel_are_kept_where_the_folder_is_not(data_dir):
    """Who has the folder adds the panel; for who has not, neither it nor its absence is outdated."""
    now = {given: settings_of(plan(PANELS, "smoke", data_dir=given)) for given in (None, data_dir)}
    why = {preset: {"why": "not there", "failed": False} for preset in ("published", "corrected")}
    kept = lambda panel: Kept(None, None, b"", {("BA-T1", "ImageNet"): KeptPanel.model_validate(panel)}, {})
    absent = kept({"settings": "0", "missing": why})
    present = kept({"settings": now[data_dir]["BA-T1", "ImageNet"], "missing": {}})
    older = kept({"settings": "0", "missing": {}})
    name = {("BA-T1", "ImageNet")}
    assert absent.outdated("smoke") == present.outdated("smoke") == older.outdated("smoke") == set()
    assert present.outdated("smoke", data_dir) == set()
    assert absent.outdated("smoke", data_dir) == older.outdated("smoke", data_dir) == name
    assert absent.is_empty(*name)
    assert not older.is_empty(*name)
    assert [s.id for s in absent.lacks(PANELS[:1], "smoke", data_dir)] == ["BA-T1"]
