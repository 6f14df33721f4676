"""load: where files come from, what is checked, what the errors say; the real files against their plainest reader."""

import dataclasses
import gzip
import hashlib
import io
import lzma
import struct
import tarfile

import numpy as np
import pytest
import torch

from holdfast.data import DataError, MissingDataError, catalogue, load, verify
from holdfast.data.cifar import certain_checksum

COUNTS = {"train": 20, "test": 10}


def small_idx(seed):
    """Name -> content of four small files in the format of MNIST."""
    random, files = np.random.default_rng(seed), {}
    for prefix, part in (("train", "train"), ("t10k", "test")):
        count = COUNTS[part]
        files[f"{prefix}-images-idx3-ubyte"] = struct.pack(">HBBIII", 0, 8, 3, count, 28, 28) + random.bytes(
            count * 784
        )
        labels = random.integers(10, size=count, dtype=np.uint8)
        files[f"{prefix}-labels-idx1-ubyte"] = struct.pack(">HBBI", 0, 8, 1, count) + labels.tobytes()
    return files


def small_entry(name, files):
    """The catalogue's entry of MNIST or Fashion-MNIST, cut down to these files."""
    entry = catalogue.ENTRIES[name]
    pieces = tuple(
        dataclasses.replace(p, size=len(files[p.name]), sha256=hashlib.sha256(files[p.name]).hexdigest())
        for p in entry.pieces
    )
    return dataclasses.replace(entry, pieces=pieces, train=COUNTS["train"], test=COUNTS["test"])


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Small MNIST and Fashion-MNIST in the catalogue, and no files of the machine in sight."""
    files = {"mnist": small_idx(0), "fashion-mnist": small_idx(1)}
    entries = dict(catalogue.ENTRIES) | {name: small_entry(name, content) for name, content in files.items()}
    monkeypatch.setattr(catalogue, "ENTRIES", entries)
    monkeypatch.setattr("holdfast.data.loading.ENTRIES", entries)
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setattr("holdfast.data.finding.cache", lambda: tmp_path / "cache")
    monkeypatch.setattr("holdfast.data.fetching.cache", lambda: tmp_path / "cache")
    return files


def put(folder, files, suffix=".gz"):
    pack = {".gz": lambda content: gzip.compress(content, 1), "": bytes}[suffix]
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{suffix}").write_bytes(pack(content))


def test_every_byte_of_an_idx_file_is_read(small, tmp_path):
    put(tmp_path / "mnist", small["mnist"])
    data = load("mnist", data_dir=tmp_path, download=False)
    content = small["mnist"]["train-images-idx3-ubyte"]
    assert data.train.images.dtype == torch.float32
    assert data.train.images.shape == (20, 1, 28, 28)
    assert data.test.images.shape == (10, 1, 28, 28)
    for n, row, column in [(0, 0, 0), (0, 0, 27), (0, 27, 0), (19, 27, 27), (7, 3, 20)]:
        assert (
            data.train.images[n, 0, row, column] == torch.tensor(float(content[16 + 784 * n + 28 * row + column])) / 255
        )
    assert data.test.labels.tolist() == list(small["mnist"]["t10k-labels-idx1-ubyte"][8:])
    assert data.test.labels.dtype == torch.int64


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "."])
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_packed_or_not_in_any_of_the_folders_it_is_the_same_data(small, tmp_path, folder, suffix):
    put(tmp_path / "usual" / "mnist", small["mnist"])
    put(tmp_path / "other" / folder, small["mnist"], suffix)
    usual, other = (load("mnist", data_dir=tmp_path / place, download=False) for place in ("usual", "other"))
    assert torch.equal(usual.train.images, other.train.images)
    assert usual.checksum == other.checksum
    assert len(usual.checksum) == 64


def test_the_dotted_names_are_known_too(small, tmp_path):
    put(tmp_path, {name.replace("-idx", ".idx"): content for name, content in small["mnist"].items()}, "")
    assert len(load("mnist", data_dir=tmp_path, download=False).train) == 20


def test_the_order_of_search(small, tmp_path, monkeypatch):
    """data_dir, then the variable, then the cache; a damaged file in an earlier place is named, not passed over."""
    for place in ("given", "named", "cache"):
        put(tmp_path / place / "mnist", small["mnist"])
    places = []
    monkeypatch.setenv("HOLDFAST_DATA", str(tmp_path / "named"))
    for place in ("given", "named", "cache"):
        path = tmp_path / place / "mnist" / "t10k-labels-idx1-ubyte.gz"
        good = path.read_bytes()
        path.write_bytes(b"")
        with pytest.raises(DataError) as caught:
            load("mnist", data_dir=tmp_path / "given", download=False)
        places.append(str(path) in str(caught.value))
        path.write_bytes(good)
        for file in path.parent.iterdir():
            file.unlink()
    assert places == [True, True, True]
    with pytest.raises(MissingDataError):
        load("mnist", data_dir=tmp_path / "given", download=False)


def test_a_file_of_the_sister_data_set_is_recognised(small, tmp_path):
    put(tmp_path, small["fashion-mnist"])
    with pytest.raises(DataError, match=r"is a file of Fashion-MNIST, not of MNIST\. Remove that file from"):
        load("mnist", data_dir=tmp_path, download=False)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda packed: packed[:-20], "the gzip stream ends too early .* truncated"),
        (lambda packed: packed[:100], "the gzip stream ends too early .* truncated"),
        (lambda packed: b"<html>moved</html>", "not an intact gzip file"),
        (lambda packed: gzip.compress(gzip.decompress(packed)[:-1]), "holds 15,695 bytes, expected 15,696"),
        (lambda packed: gzip.compress(gzip.decompress(packed) + b"1"), "unpacks to more than 15,696 bytes"),
        (lambda packed: gzip.compress(b"\1" + gzip.decompress(packed)[1:]), "not an IDX file of 3 dimensions"),
        (lambda packed: gzip.compress(gzip.decompress(packed)[:-1] + b"1"), "content is not that of MNIST: its sha256"),
    ],
)
def test_each_damage_is_named_with_file_fault_and_remedy(small, tmp_path, fault, message):
    put(tmp_path / "mnist", small["mnist"])
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(fault(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        load("mnist", data_dir=tmp_path, download=False)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert f"Remove that file from {tmp_path / 'mnist'}. Run `holdfast data fetch mnist`" in text
    assert "train-images-idx3-ubyte.gz (9,912,422 bytes)" in text
    statuses = [(check.status, check.good) for check in verify("mnist", data_dir=tmp_path)]
    assert statuses == [("damaged", False)] + [("same content", True)] * 3


def test_a_missing_file_is_named_with_what_to_put_where(small, tmp_path):
    put(tmp_path / "mnist", small["mnist"])
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(MissingDataError) as caught:
        load("mnist", data_dir=tmp_path, download=False)
    text = str(caught.value)
    assert f"not all files were found in any of {tmp_path / 'mnist'}, {tmp_path / 'MNIST/raw'}" in text
    assert f"Only these are there: {tmp_path / 'mnist' / 'train-images-idx3-ubyte.gz'}, " in text
    assert f"put by hand into {tmp_path / 'cache' / 'mnist'}, or into mnist/ of the folder named by --data-dir" in text
    assert "from https://ossci-datasets.s3.amazonaws.com/mnist/" in text
    (check,) = verify("mnist", data_dir=tmp_path)
    assert (check.status, check.good, check.note) == ("missing", False, text)


def test_bad_requests_are_named(small, tmp_path):
    with pytest.raises(DataError, match=r"there is no data set 'fashion_mnist'\. Did you mean 'fashion-mnist'"):
        load("fashion_mnist")
    with pytest.raises(TypeError, match="mnist has no settings, got noise; only half-moons and placed have some"):
        load("mnist", noise=0.1)
    with pytest.raises(DataError, match=r"data_dir '.*nowhere' is not a folder; correct it or create it"):
        load("mnist", data_dir=tmp_path / "nowhere")


# CIFAR-10: single files and the archive


def small_cifar():
    random, files = np.random.default_rng(0), {}
    for name in [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]:
        rows = random.integers(256, size=(4, 3073), dtype=np.uint8)
        rows[:, 0] %= 10
        files[name] = rows.tobytes()
    return files


@pytest.fixture
def cifar(small, monkeypatch):
    """A small CIFAR-10 in the catalogue: four images a batch, number 2 of each uncertain."""
    files = small_cifar()
    entry = catalogue.ENTRIES["cifar-10"]
    pieces = tuple(
        dataclasses.replace(
            p,
            size=4 * 3073,
            first=p.first // 2_500,
            uncertain=(2,),
            sha256=certain_checksum(files[p.name], (2,)),
        )
        for p in entry.pieces
    )
    monkeypatch.setitem(catalogue.ENTRIES, "cifar-10", dataclasses.replace(entry, pieces=pieces, train=20, test=4))
    return files


def pack_tar(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("test_batch.bin", *sorted(files)[:-1]):  # not in the order of the batches, as in the official one
            header = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            header.size = len(files[name])
            archive.addfile(header, io.BytesIO(files[name]))
    return packed.getvalue()


def test_cifar_from_plain_xz_and_tar_is_the_same_data(cifar, tmp_path):
    forms = []
    for form in ("plain", "xz", "tar"):
        folder = tmp_path / form / "cifar-10"
        folder.mkdir(parents=True)
        if form == "tar":
            (folder / "cifar-10-binary.tar.gz").write_bytes(pack_tar(cifar))
        for name, content in cifar.items() if form != "tar" else ():
            if form == "plain":
                (folder / name).write_bytes(content)
            else:
                (folder / f"{name}.xz").write_bytes(lzma.compress(content))
        forms.append(load("cifar-10", data_dir=tmp_path / form, download=False))
    rows = np.frombuffer(b"".join(cifar[f"data_batch_{n}.bin"] for n in range(1, 6)), np.uint8).reshape(-1, 3073)
    for data in forms:
        assert data.checksum == forms[0].checksum
        assert data.train.labels.tolist() == rows[:, 0].tolist()
        assert torch.equal(data.train.images.flatten(1), torch.from_numpy(rows[:, 1:].copy()).float() / 255)
        assert data.test.labels.tolist() == list(cifar["test_batch.bin"][::3073])


def test_cifar_content_is_checked_but_for_the_uncertain_images(cifar, tmp_path, monkeypatch):
    changed = {name: bytearray(content) for name, content in cifar.items()}
    changed["data_batch_3.bin"][2 * 3073 + 5] ^= 1
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(pack_tar(changed))
    checksum = load("cifar-10", data_dir=tmp_path, download=False).checksum
    changed["data_batch_3.bin"][3 * 3073 + 5] ^= 1
    path.write_bytes(pack_tar(changed))
    with pytest.raises(DataError, match=r"\.tar\.gz: data_batch_3\.bin: the content is not that of CIFAR-10"):
        load("cifar-10", data_dir=tmp_path, download=False)
    assert verify("cifar-10", data_dir=tmp_path)[0].status == "damaged"
    # the official archive is taken for what it is, whatever is believed of its pixels
    entry = catalogue.ENTRIES["cifar-10"]
    official = dataclasses.replace(entry.downloads[0], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(catalogue.ENTRIES, "cifar-10", dataclasses.replace(entry, downloads=(official,)))
    assert load("cifar-10", data_dir=tmp_path, download=False).checksum != checksum
    assert verify("cifar-10", data_dir=tmp_path)[0].status == "official"


# The real files


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_files(name, data_dir):
    data = load(name, data_dir=data_dir, download=False)
    for prefix, split in (("train", data.train), ("t10k", data.test)):
        raw = gzip.decompress((data_dir / name / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
        expected = torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=16).view(-1, 1, 28, 28)
        assert torch.equal((split.images * 255).round().byte(), expected)
        assert torch.equal(split.images[:100], expected[:100].float() / 255)
        raw = gzip.decompress((data_dir / name / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
        assert split.labels.tolist() == list(raw[8:])
    assert (len(data.train), len(data.test)) == (60_000, 10_000)
    assert [check.status for check in verify(name, data_dir=data_dir)] == ["official"] * 4


def test_the_real_cifar(data_dir):
    folder = data_dir / "cifar-10" / "cifar-10-batches-bin"
    if not folder.is_dir():
        pytest.skip(f"CIFAR-10 is not at {folder}")
    data = load("cifar-10", data_dir=data_dir, download=False)
    assert (len(data.train), len(data.test), data.shape) == (50_000, 10_000, (3, 32, 32))
    assert data.train.labels.bincount().tolist() == [5_000] * 10
    assert data.test.labels.bincount().tolist() == [1_000] * 10
    # the published mean and standard deviation of the training images, to the digits given
    spread, mean = torch.std_mean(data.train.images, dim=(0, 2, 3))
    assert mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=6e-5)
    assert spread.tolist() == pytest.approx([0.2470, 0.2435, 0.2616], abs=6e-5)
    raw = lzma.decompress((folder / "data_batch_2.bin.xz").read_bytes())
    rows = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
    assert data.train.labels[10_000:20_000].tolist() == rows[:, 0].tolist()
    assert torch.equal(data.train.images[19_999].flatten(), torch.from_numpy(rows[-1, 1:].copy()).float() / 255)
