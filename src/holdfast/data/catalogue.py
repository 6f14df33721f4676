"""The data sets there are: their files, sizes, checksums, addresses, licence and citation.

Checksums are sha256, of the official files and archives.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from holdfast.data.entries_cifar import CIFAR_10
from holdfast.data.entries_idx import FASHION_CITATION, FASHION_MINI, FASHION_MNIST, MNIST
from holdfast.data.entry import Download, Entry
from holdfast.data.errors import DataError


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
    citation=FASHION_CITATION,
    homepage="https://github.com/zalandoresearch/fashion-mnist",
)

ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {e.name: e for e in (FASHION_MINI, MNIST, FASHION_MNIST, CIFAR_10, _TINY_IMAGENET, _HALF_MOONS, _PLACED)}
)
