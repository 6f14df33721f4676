"""Published checkpoints: accuracy on the real test images, and what happens without the right file."""

import hashlib
import lzma

import pytest
import torch

from holdfast import data
from holdfast.data import Split
from holdfast.data.errors import MissingDataError
from holdfast.ensemble import Ensemble
from holdfast.networks import PUBLISHED, load_published
from holdfast.networks.published import Published


def first_test_images(name, data_dir, count):
    if name == "cifar-10":  # the test file alone: unpacking the training files takes long
        with lzma.open(data_dir / "cifar-10" / "cifar-10-batches-bin" / "test_batch.bin.xz") as file:
            rows = torch.frombuffer(bytearray(file.read(count * 3073)), dtype=torch.uint8).view(count, 3073)
        return Split(rows[:, 1:].view(-1, 3, 32, 32).float() / 255, rows[:, 0].long())
    return data.load(name, data_dir=data_dir).test[:count]


@pytest.fixture(scope="module")
def real_images(data_dir):
    loaded = {}

    def get(name):
        if name not in loaded:
            loaded[name] = first_test_images(name, data_dir, 500)
        return loaded[name]

    return get


@pytest.mark.parametrize("name", PUBLISHED)
def test_clean_accuracy_is_the_published_one(name, real_images, data_dir):
    # on all 10,000 test images the figures agree to the last digit; 500 have a standard error of up to 2.2 points
    split = real_images(PUBLISHED[name].data)[: 200 if name == "cifar-resnet56" else 500]
    ensemble = Ensemble.from_networks(load_published(name, data_dir))
    right = float((ensemble.predict(split.images) == split.labels).double().mean())
    expected = PUBLISHED[name].accuracy / 100
    assert abs(right - expected) < 3 * (expected * (1 - expected) / len(split)) ** 0.5 + 0.002


def test_the_normalisation_matters(real_images, data_dir):
    split = real_images("cifar-10")[:200]
    network = load_published("cifar-resnet20", data_dir)
    assert not network.training
    with torch.no_grad():
        bare = float((network.network(split.images).argmax(1) == split.labels).double().mean())
    assert bare < 0.85  # 91.7 % with it


def test_unknown_name():
    with pytest.raises(ValueError, match="no network called 'resnet20'; there are cifar-resnet20"):
        load_published("resnet20")


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("holdfast.data.finding.cache", lambda: tmp_path / "cache")
    with pytest.raises(MissingDataError, match=r"needs the file pytorch_resnet_cifar10/resnet20.*put it there"):
        load_published("cifar-resnet20", tmp_path)


def test_wrong_file(tmp_path):
    file = tmp_path / "weights" / PUBLISHED["mnist-small-fgsm"].file
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not the checkpoint")
    with pytest.raises(ValueError, match=r"is not the published file: its sha256 is .*get it again from locuslab/fast"):
        load_published("mnist-small-fgsm", tmp_path)


def test_a_pickle_is_never_run(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    file = tmp_path / "weights" / "evil.pth"
    file.parent.mkdir()
    torch.save({"state_dict": Evil()}, file)
    known = PUBLISHED["mnist-small-fgsm"]
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    entry = Published("evil.pth", checksum, known.data, known.factory, known.shape, "", "", 0.0)
    monkeypatch.setattr("holdfast.networks.published.PUBLISHED", {"evil": entry})
    with pytest.raises(Exception, match="Weights only load failed"):
        load_published("evil", tmp_path)
