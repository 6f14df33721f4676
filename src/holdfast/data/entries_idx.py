"""Entries of the data sets whose files are IDX: MNIST, Fashion-MNIST and the cut of it that comes with the package.

Checksums are those of the official files, packed and unpacked.
"""

from collections.abc import Mapping

from holdfast.data.entry import Download, Entry, Piece


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


CLOTHES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
FASHION_CITATION = (
    "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
    "Algorithms. arXiv:1708.07747, 2017."
)

FASHION_MINI = Entry(
    name="fashion-mini",
    title="Fashion-MNIST, the first 600 and 100 images of each class",
    layout="idx",
    train=6_000,
    test=1_000,
    shape=(1, 28, 28),
    classes=CLOTHES,
    licence="MIT, copyright 2017 Zalando SE",
    citation=FASHION_CITATION,
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

MNIST = Entry(
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

FASHION_MNIST = Entry(
    name="fashion-mnist",
    title="Fashion-MNIST",
    layout="idx",
    train=60_000,
    test=10_000,
    shape=(1, 28, 28),
    classes=CLOTHES,
    licence="MIT, copyright 2017 Zalando SE",
    citation=FASHION_CITATION,
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
