"""holdfast data list | fetch | verify."""

import dataclasses

import pytest
from typer.testing import CliRunner

from holdfast.cli.data import app
from holdfast.data import catalogue


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command with a wide terminal, and with no files and no network of the machine in reach."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("holdfast.data.finding.cache", lambda: tmp_path / "cache")
    monkeypatch.setattr("holdfast.data.fetching.cache", lambda: tmp_path / "cache")
    closed = {
        name: dataclasses.replace(
            entry,
            downloads=tuple(
                dataclasses.replace(d, addresses=(f"http://127.0.0.1:9/{d.name}",)) for d in entry.downloads
            ),
        )
        for name, entry in catalogue.ENTRIES.items()
    }
    monkeypatch.setattr(catalogue, "ENTRIES", closed)

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        return result.exit_code, result.output

    return invoke


def test_list_names_every_data_set_and_where_it_is(run, data_dir):
    code, output = run("list", "--data-dir", data_dir)
    assert code == 0
    for name in catalogue.ENTRIES:
        assert name in output
    assert str(data_dir / "mnist") in output
    assert "with the package" in output
    code, output = run("list")
    assert code == 0
    assert "not here; `holdfast data fetch mnist`" in output


def test_details_give_licence_citation_checksums_and_addresses(run):
    code, output = run("list", "--details")
    assert code == 0
    for text in (
        "MIT, copyright 2017 Zalando SE",
        "arXiv:1708.07747",
        "cifar-10-binary.tar.gz, 170,052,171 bytes, sha256 c4a38c50a1bc5f3a",
        "http://127.0.0.1:9/tiny-imagenet-200.zip",
    ):
        assert text in output


def test_verify_of_good_files_exits_with_0(run, data_dir):
    code, output = run("verify", "mnist", "fashion-mini", "half-moons", "--data-dir", data_dir)
    assert (code, output.count("official"), output.count("generated")) == (0, 2, 1)


def test_verify_of_missing_files_exits_with_1_and_says_what_to_put_where(run, tmp_path):
    code, output = run("verify", "fashion-mini", "mnist")
    assert code == 1
    assert "missing mnist: MNIST: not all files were found in any of" in output
    assert "put by hand into" in output
    assert run("verify")[0] == 1


def test_verify_of_damaged_files_exits_with_1_and_names_them(run, tmp_path, data_dir):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    for path in (data_dir / "mnist").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    bad = folder / "t10k-labels-idx1-ubyte.gz"
    bad.write_bytes(bad.read_bytes()[:-100])
    code, output = run("verify", "mnist", "--data-dir", tmp_path / "data")
    assert code == 1
    assert f"damaged mnist: {bad}: the gzip stream ends too early (4,442 bytes): the file is truncated." in output
    assert "Remove damaged files, then run `holdfast data fetch NAME`" in output
    assert output.count("official") == 1


def test_fetch_without_a_network_exits_with_1_and_leaves_nothing(run, tmp_path):
    code, output = run("fetch", "fashion-mini", "mnist", "--data-dir", tmp_path / "new")
    assert code == 1
    assert "there fashion-mini: needs no files from outside" in output
    assert (
        "failed mnist: MNIST: the download failed: http://127.0.0.1:9/train-images-idx3-ubyte.gz: no connection"
        in output
    )
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_an_unknown_name_is_a_usage_error(run, command):
    code, output = run(command, "mnits")
    assert code == 2
    assert "Did you mean 'mnist'" in output


def test_a_data_dir_that_is_none_is_named(run, tmp_path):
    code, output = run("verify", "mnist", "--data-dir", tmp_path / "nowhere")
    assert code == 1
    assert "nowhere' is not a folder; correct it or create it" in output


@pytest.mark.parametrize(
    ("command", "example"),
    [
        ("list", "holdfast data list --data-dir ~/data"),
        ("fetch", "holdfast data fetch mnist"),
        ("verify", "holdfast data verify"),
    ],
)
def test_help_shows_an_example(run, command, example):
    code, output = run(command, "--help")
    assert code == 0
    assert example in output
    assert run("--help")[0] == 0
