"""The catalogue against the real files and their published checksums."""

import hashlib
import re

import pytest

from holdfast.data import ENTRIES, DataError
from holdfast.data.catalogue import entry

# The MD5 sums that the publishers, or the loaders in common use, state.
PUBLISHED_MD5 = {
    "mnist": "f68b3c2dcbeaaa9fbdd348bbdeb94873 d53e105ee54ea40749a09fcbcd1e9432 9fb629c4189551a2d022fa330f9573f3 "
    "ec29112dd5afa0611ce80d1b7f02629c",
    "fashion-mnist": "8d4fb7e6c68d591d4c3dfef9ec88bf0d 25c81989df183df01b3e8a0aad5dffbe "
    "bef4ecab320f06d8554ea6380940ec79 bb300cfdad3c16e7a12a480ee83cd310",
}


@pytest.mark.parametrize("name", PUBLISHED_MD5)
def test_the_checksums_are_those_of_the_files_with_the_published_md5(name, data_dir):
    for download, md5 in zip(entry(name).downloads, PUBLISHED_MD5[name].split(), strict=True):
        content = (data_dir / name / download.name).read_bytes()
        assert hashlib.md5(content).hexdigest() == md5
        assert hashlib.sha256(content).hexdigest() == download.sha256
        assert len(content) == download.size


def test_every_entry_is_complete_and_consistent():
    names = ["fashion-mini", "mnist", "fashion-mnist", "cifar-10", "tiny-imagenet", "half-moons", "placed"]
    assert list(ENTRIES) == names
    sums = []
    for name, each in ENTRIES.items():
        assert each.name == name
        assert all((each.title, each.licence, each.citation, each.homepage.startswith("http")))
        assert each.embedded or each.layout == "formula" or each.downloads
        for download in each.downloads:
            assert all(address.endswith(f"/{download.name}") for address in download.addresses)
            sums.append(download.sha256)
        sums += [piece.sha256 for piece in each.pieces]
        counts = {"train": each.train, "test": each.test}
        for piece in each.pieces:
            if piece.kind == "images":
                assert piece.size == 16 + counts[piece.part] * 784
            if piece.kind == "labels":
                assert piece.size == 8 + counts[piece.part]
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in sums)
    assert len(set(sums)) == len(sums)
    assert sum(len(piece.uncertain) for piece in ENTRIES["cifar-10"].pieces) == 111


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(DataError, match=r"no data set 'mnits'\. Did you mean 'mnist'\? Choose one of fashion-mini,"):
        entry("mnits")
    with pytest.raises(DataError, match=r"no data set 'xyz'\. Choose one of"):
        entry("xyz")
