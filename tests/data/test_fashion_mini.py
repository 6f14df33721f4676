"""fashion-mini: what comes with the package is what the script makes from the official files."""

import gzip
import importlib.util
from pathlib import Path

import pytest
import torch

from holdfast.data import catalogue, load

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(catalogue.__file__).parent / "fashion_mini"


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "make_fashion_mini.py"
    if not path.is_file():
        pytest.skip("scripts/ is not part of an installed package")
    spec = importlib.util.spec_from_file_location("make_fashion_mini", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_embedded_files_are_what_the_script_makes(script, data_dir):
    made = script.make(data_dir)
    assert set(made) == {path.name for path in FOLDER.glob("*.gz")}
    for name, packed in made.items():
        # compared unpacked: another version of zlib may pack the same bytes differently
        assert gzip.decompress(packed) == gzip.decompress((FOLDER / name).read_bytes())


def test_packing_the_same_twice_gives_the_same_bytes(script):
    content = gzip.decompress((FOLDER / "t10k-labels-idx1-ubyte.gz").read_bytes())
    assert script.pack(content) == script.pack(content)
    assert script.pack(content)[4:8] == bytes(4)  # no time in the header


def test_it_is_the_first_of_every_class_in_the_official_order(data_dir):
    mini, full = load("fashion-mini"), load("fashion-mnist", data_dir=data_dir, download=False)
    for part, each in (("train", 600), ("test", 100)):
        small, large = getattr(mini, part), getattr(full, part)
        taken = torch.zeros(len(large), dtype=torch.bool)
        seen = [0] * 10
        for row, label in enumerate(large.labels.tolist()):
            seen[label] += 1
            taken[row] = seen[label] <= each
        assert torch.equal(small.images, large.images[taken])
        assert torch.equal(small.labels, large.labels[taken])


def test_size_and_licence():
    mini = load("fashion-mini")
    assert mini.train.labels.bincount().tolist() == [600] * 10
    assert mini.test.labels.bincount().tolist() == [100] * 10
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 4_000_000
    licence = (FOLDER / "LICENSE").read_text(encoding="utf-8")
    assert "The MIT License (MIT)" in licence
    assert "Copyright © 2017 Zalando SE" in licence
