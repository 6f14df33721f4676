"""Entry of CIFAR-10: single files are known by their content, see `cifar.py`, the archive by its checksum."""

from holdfast.data.entry import Download, Entry, Piece

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


def _cifar_piece(name: str, checksum: str) -> Piece:
    part, first = ("test", 0) if name.startswith("test") else ("train", 10_000 * (int(name[11]) - 1))
    return Piece(
        name, part, "records", 10_000 * 3_073, checksum, (name, f"{name}.xz", f"{name}.gz"), first, _UNCERTAIN[name]
    )


CIFAR_10 = Entry(
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
