"""Entry: what the catalogue says of one data set."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Download:
    """A file as its publishers offer it: name, bytes, sha256, and the addresses to try in turn."""

    name: str
    size: int
    sha256: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Piece:
    """The uncompressed content that one file holds.

    Attributes:
        name: name of the uncompressed file.
        part, kind: "train" or "test"; "images", "labels", or "records" of both.
        size: its bytes.
        sha256: its checksum.
        names: file names under which it is accepted, the preferred one first; `.gz` and `.xz` are unpacked on reading.
        first: number of its first image in the split.
        uncertain: numbers of images left out of the checksum, for which no certain copy was at hand (CIFAR-10).
    """

    name: str
    part: str
    kind: str
    size: int
    sha256: str
    names: tuple[str, ...]
    first: int = 0
    uncertain: tuple[int, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A data set.

    Attributes:
        name, title: what `load` is asked for, and what people call it.
        layout: how its files are read: "idx", "cifar", "tiny-imagenet", or "formula" for generated data.
        train, test: numbers of images.
        shape: of one image.
        classes: class names in label order; empty where the files name them.
        folders: where below a data folder the files may lie.
        pieces: contents needed, one file each; empty where an archive is the only form.
        archives: file name patterns of archives that hold everything.
        downloads: what `fetch` gets.
        licence, citation, homepage: for the report and the paper.
        embedded: whether the files come with the package.
    """

    name: str
    title: str
    layout: str
    train: int
    test: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    licence: str
    citation: str
    homepage: str
    folders: tuple[str, ...] = ()
    pieces: tuple[Piece, ...] = ()
    archives: tuple[str, ...] = ()
    downloads: tuple[Download, ...] = ()
    embedded: bool = False
