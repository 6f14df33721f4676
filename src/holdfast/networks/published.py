"""Published checkpoints: networks that others trained, with their normalisation, by name.

The files are the originals and are never unpickled: they are read with `weights_only=True`, after their checksum.
Every network takes images in [0, 1].
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.data.errors import DataError, MissingDataError
from holdfast.data.finding import check_data_dir, roots
from holdfast.networks.lenet import lenet
from holdfast.networks.normalise import normalised
from holdfast.networks.resnet import resnet
from holdfast.networks.resnet2b import resnet2b
from holdfast.networks.small import small

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


@dataclass(frozen=True)
class Published:
    """A published checkpoint.

    Attributes:
        file: its path below the folder `weights` of the data folder: repository, then file.
        sha256: of the file.
        data: the data set it was trained on, as `data.load` calls it.
        factory: (shape, classes) -> the architecture.
        shape: of one image.
        trained: how, in a few words.
        source: repository, licence and paper.
        accuracy: clean accuracy in percent on the 10,000 test images.
        normalisation: mean and standard deviation of each channel; empty for none.
    """

    file: str
    sha256: str
    data: str
    factory: Callable[[tuple[int, ...], int], nn.Module]
    shape: tuple[int, int, int]
    trained: str
    source: str
    accuracy: float
    normalisation: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def _mean_std(mean: tuple[float, ...], std: tuple[float, ...], scale: float = 1.0) -> Mapping[str, tuple[float, ...]]:
    return MappingProxyType({"mean": tuple(m / scale for m in mean), "std": tuple(s / scale for s in std)})


_IMAGENET = _mean_std((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_IMAGENET_ONE_STD = _mean_std((0.485, 0.456, 0.406), (0.225, 0.225, 0.225))
_CIFAR = _mean_std((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))
_CIFAR_BYTES = _mean_std((125.3, 123.0, 113.9), (63.0, 62.1, 66.7), 255)

_IDELBAYEV = "akamaster/pytorch_resnet_cifar10, BSD-2-Clause; architecture He et al. 2015, arXiv:1512.03385"
_CROWN = "Verified-Intelligence/alpha-beta-CROWN, BSD-3-Clause"
_CONVEX = "locuslab/convex_adversarial, MIT; Wong and Kolter 2018, arXiv:1711.00851; Wong et al. 2018, arXiv:1805.12514"
_ADVERTORCH = "BorealisAI/advertorch, LGPL-3.0"

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "cifar-resnet20": Published(
            "pytorch_resnet_cifar10/resnet20-12fca82f.th",
            "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
            "cifar-10",
            partial(resnet, depth=20),
            CIFAR,
            "standard",
            _IDELBAYEV,
            91.73,
            _IMAGENET,
        ),
        "cifar-resnet56": Published(
            "pytorch_resnet_cifar10/resnet56-4bfd9763.th",
            "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
            "cifar-10",
            partial(resnet, depth=56),
            CIFAR,
            "standard",
            _IDELBAYEV,
            93.39,
            _IMAGENET,
        ),
        "cifar-resnet2b": Published(
            "alpha-beta-CROWN/resnet2b.pth",
            "ef824b47175668e924d7fd409b5ef7e239012b8f0c31fefa66c643efda1eb05b",
            "cifar-10",
            resnet2b,
            CIFAR,
            "adversarial, linf 2/255",
            f"{_CROWN}; Wang et al. 2021, arXiv:2103.06624",
            69.25,
            _CIFAR,
        ),
        "cifar-small-adversarial": Published(
            "alpha-beta-CROWN/cifar_cnn_a_adv.model",
            "e45d79e68342395f4ada6f89852ae41feba14b430a3b2462a04d7f5e02c65657",
            "cifar-10",
            small,
            CIFAR,
            "adversarial; verified at linf 2/255 in the source",
            f"{_CROWN}; Dathathri et al. 2020, arXiv:2010.11645",
            65.65,
            _CIFAR_BYTES,
        ),
        "cifar-small-certified-linf": Published(
            "alpha-beta-CROWN/cifar_wide.pth",
            "1980beb15e180902fd48b50cd0ac24ac80d48f3ec166753d5773a7dc24d60a07",
            "cifar-10",
            small,
            CIFAR,
            "certified (convex relaxation), linf 2/255",
            f"{_CROWN}; Wong and Kolter 2018, arXiv:1711.00851",
            61.61,
            _IMAGENET_ONE_STD,
        ),
        "cifar-small-certified-l2": Published(
            "convex_adversarial/cifar_small_36px.pth",
            "d99894f1fe2866dd3509d3b2a69e16110e58c8d04bd696a070ad6e23d22f11b7",
            "cifar-10",
            small,
            CIFAR,
            "certified (convex relaxation), l2 36/255; first stage of a cascade of two",
            _CONVEX,
            54.38,
            _IMAGENET_ONE_STD,
        ),
        "mnist-small-certified-linf": Published(
            "convex_adversarial/mnist.pth",
            "95014ab0c04c73f48b3be0cb7acc42aff60ce4420c6c43bec25e9a1447279e08",
            "mnist",
            small,
            MNIST,
            "certified (convex relaxation), linf 0.1",
            _CONVEX,
            98.20,
        ),
        "mnist-small-fgsm": Published(
            "fast_adversarial/fgsm.pth",
            "07536ed24c714dac89507d38ffc0090f110de3cd70c40d02d8d56491e187905b",
            "mnist",
            small,
            MNIST,
            "adversarial (FGSM with random start), linf 0.3",
            "locuslab/fast_adversarial, no licence file; Wong, Rice and Kolter 2020, arXiv:2001.03994",
            98.50,
        ),
        "mnist-lenet-adversarial": Published(
            "advertorch/mnist_lenet5_advtrained.pt",
            "b89abfcfe8b33235fe8f8e964188d82a97c56a12ffe25132eaba197e40ac7658",
            "mnist",
            lenet,
            MNIST,
            "adversarial (PGD, 40 steps), linf 0.3",
            _ADVERTORCH,
            98.64,
        ),
        "mnist-lenet-standard": Published(
            "advertorch/mnist_lenet5_clntrained.pt",
            "551a11267982991fb0c9f74e9094de19e54b51455eff9bd1c19c77a69d85156a",
            "mnist",
            lenet,
            MNIST,
            "standard; the counterpart of mnist-lenet-adversarial",
            _ADVERTORCH,
            98.89,
        ),
    }
)


def load_published(name: str, data_dir: str | os.PathLike | None = None) -> nn.Module:
    """Make a published network with its weights and its normalisation, in evaluation mode.

    Args:
        name: one of `PUBLISHED`.
        data_dir: folder that holds `weights/`; else $HOLDFAST_DATA and the user's cache are searched.

    Raises:
        ValueError: no network of that name, or a file that is not the published one.
        MissingDataError: the file is in none of the folders; the message says what to put where.
    """
    if name not in PUBLISHED:
        raise ValueError(f"networks.load_published: no network called {name!r}; there are {', '.join(PUBLISHED)}.")
    entry = PUBLISHED[name]
    check_data_dir(data_dir)
    network = entry.factory(entry.shape, 10)
    network.load_state_dict(_state_dict(_find(name, entry, data_dir), entry))
    if entry.normalisation:
        network = normalised(network, **entry.normalisation)
    return network.eval()


def _find(name: str, entry: Published, data_dir: str | os.PathLike | None) -> Path:
    folders = [root / "weights" for root in roots(data_dir)]
    for folder in folders:
        if (folder / entry.file).is_file():
            return folder / entry.file
    raise MissingDataError(
        f"networks.load_published: {name} needs the file {entry.file} (from {entry.source}), which is in none of "
        f"{', '.join(map(str, folders))}; put it there, or pass data_dir= or set HOLDFAST_DATA."
    )


def _state_dict(path: Path, entry: Published) -> dict[str, Tensor]:
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    if checksum != entry.sha256:
        raise DataError(
            f"networks.load_published: {path} is not the published file: its sha256 is {checksum}, expected "
            f"{entry.sha256}; get it again from {entry.source.split(',')[0]}."
        )
    state: Any = torch.load(path, map_location="cpu", weights_only=True)
    if "state_dict" in state:
        state = state["state_dict"]
    if isinstance(state, list):  # a cascade: its first stage
        state = state[0]
    return {key.removeprefix("module."): value for key, value in state.items()}
