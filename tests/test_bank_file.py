"""A bank on disk: one whole file with a manifest, or one clear error."""

import json
import struct
import zlib
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from holdfast import bank_file
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.networks import fc2

RECIPE = fc2((4,), 3, width=5)
SAID = Diagnostics("sghmc", {"seed": 7, "chains": 2, "prior": {"name": "fan_in"}}, {"acceptance": 0.8})


def ensemble(draws=4):
    noise = torch.Generator().manual_seed(1)
    weights = {k: torch.randn(draws, *v.shape, generator=noise) for k, v in RECIPE.state_dict().items()}
    return Ensemble(Ensemble.from_networks(RECIPE).network, weights, SAID)


def test_the_manifest_says_how_the_draws_came_about(tmp_path):
    path = ensemble().save(tmp_path / "bank.safetensors", data={"name": "mnist", "checksum": "abc"})
    file = bank_file.open_file("test", path)
    assert list(file.metadata()) == ["holdfast"]
    manifest, diagnostics = bank_file.header_of("test", path, file)
    assert manifest["architecture"]["recipe"] == RECIPE.recipe
    assert manifest["architecture"]["parameters"] == 5 * 5 + 6 * 5 + 6 * 3
    assert {k: manifest[k] for k in ("sampler", "seed", "chains", "draws")} == {
        "sampler": "sghmc", "seed": 7, "chains": 2, "draws": 4
    }  # fmt: skip
    assert manifest["data"] == {"name": "mnist", "checksum": "abc"}
    assert manifest["prior"] == {"name": "fan_in"}
    assert manifest["versions"]["torch"] == torch.__version__
    assert diagnostics["summary"] == {"acceptance": 0.8}


def test_the_checksum_is_the_crc_of_the_bytes_in_name_order():
    state = {"b": torch.tensor([1.5, -2.0]), "a": torch.tensor(3, dtype=torch.int64), "c": torch.ones(1).bfloat16()}
    expected = zlib.crc32(struct.pack("<q2fH", 3, 1.5, -2.0, 0x3F80))
    assert bank_file.draw_checksum(state) == f"{expected:08x}"


@pytest.mark.parametrize("where", [0.9, 0.98])
def test_one_changed_byte_names_the_draw(tmp_path, where):
    path = ensemble().save(tmp_path / "bank.safetensors")
    content = bytearray(path.read_bytes())
    content[int(where * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"draw \d of .*bank.safetensors is damaged: its checksum is"):
        Ensemble.load(path, RECIPE)


def test_one_changed_bit_of_the_header_is_one_clear_error(tmp_path):
    path = ensemble(2).save(tmp_path / "bank.safetensors")
    content = path.read_bytes()
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for where in range(0, header, 5):
        changed = bytearray(content)
        changed[where] ^= 1 << (where % 7)
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"is no whole safetensors file|manifest of .* cannot be read"):
            Ensemble.load(path, RECIPE)


def test_files_from_before_headers_had_a_checksum_are_read(tmp_path):
    path = ensemble().save(tmp_path / "bank.safetensors")
    with safe_open(path, "pt") as file:
        entry = json.loads(file.metadata()["holdfast"])
        weights = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    del entry["checksum"]
    bank_file.save_file(weights, path, {"holdfast": json.dumps(entry)})
    assert Ensemble.load(path, RECIPE).diagnostics.settings == SAID.settings


@pytest.mark.parametrize("length", [0, 5, 300, -1])
def test_a_file_that_was_cut_off(tmp_path, length):
    path = ensemble().save(tmp_path / "bank.safetensors")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"is no whole safetensors file .* cut off, damaged"):
        Ensemble.load(path, RECIPE)


def test_no_file_and_no_manifest(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Ensemble.load: there is no file .*x\.safetensors"):
        Ensemble.load(tmp_path / "x.safetensors", RECIPE)
    path = tmp_path / "bad.safetensors"
    weights = {k: v[None] for k, v in RECIPE.state_dict().items()}
    bank_file.save_file(weights, path, {"holdfast": "[1"})
    with pytest.raises(ValueError, match=r"manifest of .* cannot be read"):
        Ensemble.load(path, RECIPE)
    bank_file.save_file(weights, path)  # another program's: weights alone
    assert Ensemble.load(path, RECIPE).diagnostics is None


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = ensemble().save(tmp_path / "bank.safetensors")
    before = path.read_bytes()

    def full(tensors, file, metadata):
        file.write_bytes(b"half")
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr(bank_file, "save_file", full)
    with pytest.raises(OSError, match=r"could not be written .* room on the disk"):
        ensemble(2).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["bank.safetensors"]


def test_data_are_those_of_the_inference_where_nobody_says_otherwise(tmp_path):
    inferred = replace(ensemble(), diagnostics=replace(SAID, settings={"data": {"images": 60, "sha256": "abc"}}))
    for given, said in ((None, {"images": 60, "sha256": "abc"}), ({"name": "mnist"}, {"name": "mnist"})):
        path = inferred.save(tmp_path / "bank.safetensors", data=given)
        assert bank_file.header_of("test", path, bank_file.open_file("test", path))[0]["data"] == said


def test_where_a_bank_cannot_lie(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Ensemble.save: there is no folder .*missing for x; make it first"):
        ensemble().save(tmp_path / "missing" / "x")
    with pytest.raises(IsADirectoryError, match=r"Ensemble.save: .* is a folder; name a file in it, such as"):
        ensemble().save(tmp_path)
    with pytest.raises(TypeError, match=r"Ensemble.save: data must be a dict such as {'name': .*, got 'mnist'"):
        ensemble().save(tmp_path / "x", data="mnist")
    assert list(tmp_path.iterdir()) == []


def test_wrong_networks_are_named(tmp_path):
    path = ensemble().save(tmp_path / "bank.safetensors")
    with pytest.raises(ValueError, match=r"linear1.bias is \(5,\) in the file and \(6,\) in the network .and 4 more"):
        Ensemble.load(path, fc2((4,), 3, width=6))
    with pytest.raises(ValueError, match=r"0.bias is missing in the file"):
        Ensemble.load(path, nn.Sequential(nn.Linear(4, 3)))


def test_the_header_is_json_with_sorted_keys(tmp_path):
    path = ensemble().save(tmp_path / "bank.safetensors")
    with safe_open(path, "pt") as file:
        text = file.metadata()["holdfast"]
    assert text == json.dumps(json.loads(text), sort_keys=True)


def said(path, **changes):
    """The bank with other words in its manifest, and no checksum over them, as older files have none."""
    with safe_open(path, "pt") as file:
        weights = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        found = json.loads(file.metadata()["holdfast"])
    found.pop("checksum", None)
    manifest = {k: v for k, v in (found["manifest"] | changes).items() if v != "absent"}
    bank_file.save_file(weights, path, {"holdfast": json.dumps(found | {"manifest": manifest})})
    return path


def test_banks_without_a_schema_open_and_later_ones_say_so(tmp_path):
    path = ensemble().save(tmp_path / "bank.safetensors")
    assert len(Ensemble.load(said(path, schema="absent"), RECIPE)) == 4
    with pytest.raises(ValueError, match=r"has schema 2, of a later holdfast; .* up to 1: upgrade"):
        Ensemble.load(said(path, schema=2), RECIPE)


@pytest.mark.parametrize(
    ("name", "value"),
    [("chains", "two"), ("chains", 0), ("chains", True), ("checksums", [1, 2, 3, 4]), ("checksums", {}), ("data", 5),
     ("architecture", None), ("schema", "1")],
)  # fmt: skip
def test_what_a_manifest_cannot_mean_is_refused(tmp_path, name, value):
    path = ensemble().save(tmp_path / "bank.safetensors")
    with pytest.raises(ValueError, match=f"manifest of .* cannot be read .'{name}' makes no sense"):
        Ensemble.load(said(path, **{name: value}), RECIPE)


def test_whole_numbers_are_no_weights(tmp_path):
    path = tmp_path / "bank.safetensors"
    bank_file.save_file({k: v[None].int() for k, v in RECIPE.state_dict().items()}, path)
    with pytest.raises(ValueError, match=r"linear1.weight of .* is I32, the network has torch.float32"):
        Ensemble.load(path, RECIPE)
