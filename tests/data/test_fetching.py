"""Downloads, over HTTP from a server on the loopback interface: right, wrong, broken off, absent."""

import dataclasses
import gzip
import hashlib
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast.data import DataError, MissingDataError, catalogue, fetch, load, verify

CONTENTS = {
    "train-images-idx3-ubyte": struct.pack(">HBBIII", 0, 8, 3, 4, 28, 28) + bytes(range(196)) * 16,
    "train-labels-idx1-ubyte": struct.pack(">HBBI", 0, 8, 1, 4) + bytes([3, 1, 2, 0]),
    "t10k-images-idx3-ubyte": struct.pack(">HBBIII", 0, 8, 3, 2, 28, 28) + bytes(range(98)) * 16,
    "t10k-labels-idx1-ubyte": struct.pack(">HBBI", 0, 8, 1, 2) + bytes([9, 8]),
}
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in CONTENTS.items()}


@pytest.fixture
def server():
    """A server of `server.files` (path -> bytes) that keeps a list of what was asked for.

    A value of None is an answer that breaks off before its end.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            web.asked.append(self.path)
            if self.path not in web.files:
                self.send_error(404)
                return
            content = web.files[self.path]
            self.send_response(200)
            self.send_header("Content-Length", str(1_000 if content is None else len(content)))
            self.end_headers()
            self.wfile.write(b"half of it" if content is None else content)

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.files, web.asked = {}, []
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield web
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture
def mnist(server, monkeypatch, tmp_path):
    """A small MNIST in the catalogue, offered at two addresses of the server."""
    base = f"http://127.0.0.1:{server.server_address[1]}"
    entry = catalogue.ENTRIES["mnist"]
    small = dataclasses.replace(
        entry,
        train=4,
        test=2,
        pieces=tuple(
            dataclasses.replace(p, size=len(CONTENTS[p.name]), sha256=hashlib.sha256(CONTENTS[p.name]).hexdigest())
            for p in entry.pieces
        ),
        downloads=tuple(
            catalogue.Download(
                name, len(packed), hashlib.sha256(packed).hexdigest(), (f"{base}/first/{name}", f"{base}/second/{name}")
            )
            for name, packed in PACKED.items()
        ),
    )
    monkeypatch.setattr(catalogue, "ENTRIES", dict(catalogue.ENTRIES) | {"mnist": small})
    monkeypatch.setattr("holdfast.data.finding.cache", lambda: tmp_path / "cache")
    monkeypatch.setattr("holdfast.data.fetching.cache", lambda: tmp_path / "cache")
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return small


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_is_missing_is_downloaded_once_and_then_found(server, mnist, tmp_path):
    server.files = {f"/first/{name}": packed for name, packed in PACKED.items()}
    data = load("mnist")
    assert data.train.labels.tolist() == [3, 1, 2, 0]
    assert sorted(path.name for path in (tmp_path / "cache" / "mnist").iterdir()) == sorted(PACKED)
    assert len(server.asked) == 4
    assert load("mnist").checksum == data.checksum
    assert [path.name for path in fetch("mnist")] == list(PACKED)
    assert len(server.asked) == 4
    assert [check.status for check in verify("mnist")] == ["official"] * 4


def test_the_second_address_is_tried_and_a_wrong_file_is_never_kept(server, mnist, tmp_path):
    server.files = {f"/second/{name}": packed for name, packed in PACKED.items()}
    server.files["/first/train-images-idx3-ubyte.gz"] = b"<html>another page</html>"
    server.files["/first/train-labels-idx1-ubyte.gz"] = None
    fetch("mnist", data_dir=tmp_path / "new")
    assert tree(tmp_path / "new") == ["mnist", *sorted(f"mnist/{name}" for name in PACKED)]
    for name, packed in PACKED.items():
        assert (tmp_path / "new" / "mnist" / name).read_bytes() == packed


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("absent", "the server answered 404 Not Found"),
        ("wrong", "what arrived does not have the checksum sha256 [0-9a-f]{64}"),
        ("broken", "no connection, or it broke off"),
    ],
)
def test_a_failed_download_names_the_fault_and_leaves_nothing(server, mnist, tmp_path, answer, fault):
    for name in PACKED if answer != "absent" else ():
        for place in ("first", "second"):
            server.files[f"/{place}/{name}"] = b"wrong" if answer == "wrong" else None
    with pytest.raises(
        MissingDataError, match=f"MNIST: the download failed: http://127.*: {fault}; http://127"
    ) as caught:
        load("mnist")
    assert f"put by hand into {tmp_path / 'cache' / 'mnist'}" in str(caught.value)
    assert tree(tmp_path) in ([], ["cache"])
    assert len(server.asked) == 2


def test_without_a_network_the_message_says_so(server, mnist, tmp_path, monkeypatch):
    closed = "http://127.0.0.1:9"
    downloads = tuple(dataclasses.replace(d, addresses=(f"{closed}/{d.name}",)) for d in mnist.downloads)
    monkeypatch.setitem(catalogue.ENTRIES, "mnist", dataclasses.replace(mnist, downloads=downloads))
    with pytest.raises(MissingDataError, match="no connection, or it broke off"):
        load("mnist")
    with pytest.raises(MissingDataError, match="MNIST: not all files were found in any of"):
        load("mnist", download=False)
    assert tree(tmp_path) in ([], ["cache"])


def test_a_damaged_download_is_replaced_by_the_next_fetch(server, mnist, tmp_path):
    server.files = {f"/first/{name}": packed for name, packed in PACKED.items()}
    fetch("mnist")
    path = tmp_path / "cache" / "mnist" / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="truncated"):
        load("mnist")
    fetch("mnist")
    assert path.read_bytes() == PACKED[path.name]
    assert len(server.asked) == 5
    assert len(load("mnist").test) == 2


def test_a_folder_that_cannot_be_written_is_named(server, mnist, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises((MissingDataError, OSError), match="file"):
        fetch("mnist", data_dir=tmp_path / "file")


def test_nothing_to_download_for_what_comes_with_the_package():
    assert fetch("fashion-mini") == fetch("half-moons") == []
    with pytest.raises(DataError, match="there is no data set 'imagenet'"):
        fetch("imagenet")
