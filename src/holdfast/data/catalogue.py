"""The data sets there are: their files, sizes, checksums, addresses, licence and citation.

Checksums are sha256. For MNIST and Fashion-MNIST they are those of the official files, packed and unpacked. CIFAR-10
and Tiny ImageNet have those of the official archives; single files of CIFAR-10 are known by content, see `cifar.py`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holdfast.data.errors import DataError


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


def entry(name: str) -> Entry:
    """The entry of a data set.

    Raises:
        DataError: there is no data set of that name.

    >>> entry("mnist").train
    60000
    """
    if name in ENTRIES:
        return ENTRIES[name]
    close = difflib.get_close_matches(str(name), ENTRIES, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise DataError(f"there is no data set {name!r}.{hint} Choose one of {', '.join(ENTRIES)}.")


def _idx_pieces(sums: Mapping[str, tuple[int, str]]) -> tuple[Piece, ...]:
    """The IDX files, accepted packed and unpacked, and with the dot that some copies have in place of a hyphen."""
    pieces = []
    for name, (size, checksum) in sums.items():
        dotted = name.replace("-idx", ".idx")
        part, kind = ("train" if name.startswith("train") else "test"), name.split("-")[1]
        pieces.append(Piece(name, part, kind, size, checksum, (f"{name}.gz", name, f"{dotted}.gz", dotted)))
    return tuple(pieces)


def _idx_downloads(sums: Mapping[str, tuple[int, str]], addresses: tuple[str, ...]) -> tuple[Download, ...]:
    return tuple(
        Download(name, size, checksum, tuple(f"{address}/{name}" for address in addresses))
        for name, (size, checksum) in sums.items()
    )


def _cifar_piece(name: str, checksum: str) -> Piece:
    part, first = ("test", 0) if name.startswith("test") else ("train", 10_000 * (int(name[11]) - 1))
    return Piece(
        name, part, "records", 10_000 * 3_073, checksum, (name, f"{name}.xz", f"{name}.gz"), first, _UNCERTAIN[name]
    )


_CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
_FASHION_CITATION = (
    "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
    "Algorithms. arXiv:1708.07747, 2017."
)

_FASHION_MINI = Entry(
    name="fashion-mini",
    title="Fashion-MNIST, the first 600 and 100 images of each class",
    layout="idx",
    train=6_000,
    test=1_000,
    shape=(1, 28, 28),
    classes=_CLOTHES,
    licence="MIT, copyright 2017 Zalando SE",
    citation=_FASHION_CITATION,
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    folders=("fashion_mini",),
    embedded=True,
    pieces=_idx_pieces(
        {
            "train-images-idx3-ubyte": (4_704_016, "cf313073c7eb485392848071d5c433571d7166043e971e3345b095cc30518084"),
            "train-labels-idx1-ubyte": (6_008, "097b93fbcf9bd5bc648b1a457ddc55c9e4ab49afb33f9ecae8ce068399a75e3a"),
            "t10k-images-idx3-ubyte": (784_016, "7cee33c3c6414b1b86c25e665a6c4f41584269de3b7cc9768b1d351922845eef"),
            "t10k-labels-idx1-ubyte": (1_008, "3128d790775889812b73c4f13923559c8b9e281d112c6ea7862acf60a206a909"),
        }
    ),
)

_MNIST = Entry(
    name="mnist",
    title="MNIST",
    layout="idx",
    train=60_000,
    test=10_000,
    shape=(1, 28, 28),
    classes=tuple("0123456789"),
    licence="none stated by the authors; commonly redistributed under CC BY-SA 3.0",
    citation=(
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. "
        "Proceedings of the IEEE 86(11), 1998."
    ),
    homepage="http://yann.lecun.com/exdb/mnist/",
    folders=("mnist", "MNIST/raw", "MNIST", ""),
    pieces=_idx_pieces(
        {
            "train-images-idx3-ubyte": (
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            "train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
            "t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
            "t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        }
    ),
    downloads=_idx_downloads(
        {
            "train-images-idx3-ubyte.gz": (
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            "train-labels-idx1-ubyte.gz": (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            "t10k-images-idx3-ubyte.gz": (
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            "t10k-labels-idx1-ubyte.gz": (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        },
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "https://storage.googleapis.com/cvdf-datasets/mnist",
        ),
    ),
)

_FASHION_MNIST = Entry(
    name="fashion-mnist",
    title="Fashion-MNIST",
    layout="idx",
    train=60_000,
    test=10_000,
    shape=(1, 28, 28),
    classes=_CLOTHES,
    licence="MIT, copyright 2017 Zalando SE",
    citation=_FASHION_CITATION,
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    folders=("fashion-mnist", "FashionMNIST/raw", "fashion_mnist", ""),
    pieces=_idx_pieces(
        {
            "train-images-idx3-ubyte": (
                47_040_016,
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            ),
            "train-labels-idx1-ubyte": (60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            "t10k-images-idx3-ubyte": (7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            "t10k-labels-idx1-ubyte": (10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        }
    ),
    downloads=_idx_downloads(
        {
            "train-images-idx3-ubyte.gz": (
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            "train-labels-idx1-ubyte.gz": (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            "t10k-images-idx3-ubyte.gz": (
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            "t10k-labels-idx1-ubyte.gz": (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        },
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ),
    ),
)

# The numbers, in each batch, of the 111 images whose official pixels were not at hand when the checksums were taken.
_UNCERTAIN = {
    "data_batch_1.bin": (
        4298, 5949, 7066, 7237, 7248, 7630, 8006, 8831, 8968, 9415,
    ),
    "data_batch_2.bin": (
        336, 408, 572, 1027, 2762, 2834, 3546,
    ),
    "data_batch_3.bin": (
        1493, 5728, 6098, 6927, 7621, 8435, 8670, 8728, 9694, 9747,
    ),
    "data_batch_4.bin": (
        329, 1066, 1367, 1462, 1625, 1663, 2777, 3446, 3641, 3661, 4067, 4276, 4387, 4471, 4825, 5160, 5646, 6733,
        7329, 7474, 7567, 8089, 8384, 8925, 9069, 9358, 9385, 9613, 9840, 9888, 9971,
    ),
    "data_batch_5.bin": (
        805, 1761, 1779, 2004, 2389, 2611, 3357, 3883, 4420, 4882, 5168, 5240, 6175, 6435, 6538, 6624, 7393, 7597,
        8081, 8124, 8333, 8821, 8836, 9321, 9429, 9631, 9830, 9857,
    ),
    "test_batch.bin": (
        260, 722, 1259, 1369, 1422, 1556, 2245, 2737, 2935, 3630, 3695, 3718, 4085, 4496, 5791, 5896, 6286, 7580,
        7707, 7724, 7832, 8117, 8541, 8551, 9254,
    ),
}  # fmt: skip

_CIFAR_10 = Entry(
    name="cifar-10",
    title="CIFAR-10",
    layout="cifar",
    train=50_000,
    test=10_000,
    shape=(3, 32, 32),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    licence="none stated by the authors",
    citation="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images. University of Toronto, 2009.",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    folders=("cifar-10/cifar-10-batches-bin", "cifar-10-batches-bin", "cifar-10", "cifar10", ""),
    pieces=(
        _cifar_piece("data_batch_1.bin", "2f92f3b32699653cf61a113e8aa9a5380108b7094ac83e812df0ad7c84e6e2e5"),
        _cifar_piece("data_batch_2.bin", "ac606abc064f4f8cda652b573e5d4295eaf797c68770e9fbd29b4a005de33b6b"),
        _cifar_piece("data_batch_3.bin", "9a6f10abb396fa519e8d7c56b74fa2f087ad5fe13f47ee36aa2e02a4215f53c4"),
        _cifar_piece("data_batch_4.bin", "7d092449187ad2b72e340e21094beedc61a2017334f13154a3fb09167b8c6b7e"),
        _cifar_piece("data_batch_5.bin", "a8d9936a753bed1379330a6d431d48338d504856fb29c6119b4d3fc78fe6a47c"),
        _cifar_piece("test_batch.bin", "e88c90ba749f0196d8e1806af0841cb7c07099c1e71236a7c2409507e1ee8d47"),
    ),
    archives=("cifar-10-binary.tar.gz",),
    downloads=(
        Download(
            "cifar-10-binary.tar.gz",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        ),
    ),
)

_TINY_IMAGENET = Entry(
    name="tiny-imagenet",
    title="Tiny ImageNet, all 200 classes or a cut of them",
    layout="tiny-imagenet",
    train=100_000,
    test=10_000,
    shape=(3, 64, 64),
    classes=(),
    licence="images from ImageNet, for non-commercial research and education under its terms",
    citation="Y. Le, X. Yang: Tiny ImageNet Visual Recognition Challenge. CS 231N, Stanford University, 2015.",
    homepage="http://cs231n.stanford.edu/",
    folders=("tiny-imagenet", "tiny-imagenet-200", ""),
    archives=("tiny-imagenet-200.zip", "tiny-imagenet*.zip"),
    downloads=(
        Download(
            "tiny-imagenet-200.zip",
            248_100_043,
            "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821",
            ("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "https://cs231n.stanford.edu/tiny-imagenet-200.zip"),
        ),
    ),
)

_HALF_MOONS = Entry(
    name="half-moons",
    title="Half moons, generated",
    layout="formula",
    train=24_000,
    test=6_000,
    shape=(2,),
    classes=("upper moon", "lower moon"),
    licence="generated",
    citation=(
        "The settings of G. Carbone, M. Wicker, L. Laurenti, A. Patane, L. Bortolussi, G. Sanguinetti: Robustness of "
        "Bayesian Neural Networks to Gradient-Based Attacks. NeurIPS 2020."
    ),
    homepage="https://arxiv.org/abs/2002.04359",
)

_PLACED = Entry(
    name="placed",
    title="Clothes placed on clutter, with masks, generated from fashion-mini",
    layout="formula",
    train=4_000,
    test=1_000,
    shape=(1, 56, 56),
    classes=("trouser", "pullover", "sandal", "bag", "ankle boot"),
    licence="MIT, copyright 2017 Zalando SE",
    citation=_FASHION_CITATION,
    homepage="https://github.com/zalandoresearch/fashion-mnist",
)

ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {e.name: e for e in (_FASHION_MINI, _MNIST, _FASHION_MNIST, _CIFAR_10, _TINY_IMAGENET, _HALF_MOONS, _PLACED)}
)
