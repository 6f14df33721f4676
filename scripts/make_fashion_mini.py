"""Make fashion-mini: of every class of Fashion-MNIST the first 600 training and 100 test images, in the official order.

    python scripts/make_fashion_mini.py [--data-dir DIR] [--to FOLDER]

Reads the official files, writes four IDX files packed with gzip into src/holdfast/data/fashion_mini/ and prints the
sha256 of their contents, which `catalogue.py` states. The same input gives the same bytes: gzip's header holds no time
and no name (packed bytes may differ between versions of zlib, the contents may not).
"""

import argparse
import gzip
import hashlib
import io
from pathlib import Path

import numpy as np

from holdfast.data.catalogue import entry
from holdfast.data.finding import find
from holdfast.data.idx import parse_idx, write_idx
from holdfast.data.loading import contents

PER_CLASS = {"train": 600, "test": 100}


def make(data_dir: Path | None = None) -> dict[str, bytes]:
    """File name -> packed bytes of the four files."""
    fashion = entry("fashion-mnist")
    found = find(fashion, data_dir)
    if found is None:
        raise SystemExit("The official files of Fashion-MNIST were not found; run `holdfast data fetch fashion-mnist`.")
    arrays = {
        piece.name: parse_idx(content, piece.name, 3 if piece.kind == "images" else 1)
        for piece, content in contents(fashion, found)
    }
    files = {}
    for prefix, part in (("train", "train"), ("t10k", "test")):
        images, labels = arrays[f"{prefix}-images-idx3-ubyte"], arrays[f"{prefix}-labels-idx1-ubyte"]
        rows = np.sort(np.concatenate([np.flatnonzero(labels == c)[: PER_CLASS[part]] for c in range(10)]))
        files[f"{prefix}-images-idx3-ubyte.gz"] = pack(write_idx(images[rows]))
        files[f"{prefix}-labels-idx1-ubyte.gz"] = pack(write_idx(labels[rows]))
    return files


def pack(content: bytes) -> bytes:
    """gzip without name and time."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as file:
        file.write(content)
    return packed.getvalue()


def main() -> None:
    """Write the files."""
    default = Path(__file__).resolve().parents[1] / "src" / "holdfast" / "data" / "fashion_mini"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="folder with the official files of Fashion-MNIST")
    parser.add_argument("--to", type=Path, default=default, help="folder to write to")
    arguments = parser.parse_args()
    for name, packed in make(arguments.data_dir).items():
        (arguments.to / name).write_bytes(packed)
        content = gzip.decompress(packed)
        print(f"{name}: {len(packed):,} bytes; content {len(content):,} bytes, {hashlib.sha256(content).hexdigest()}")


if __name__ == "__main__":
    main()
