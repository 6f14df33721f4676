"""ImageNet as the user has it, for neither its images nor its networks can be passed on.

    DATA/imagenet/images/<class>/*.JPEG    validation images, one folder a class, called as ILSVRC does: n01440764
    DATA/imagenet/boxes/<class>/*.xml      their ILSVRC annotations, or all of them in `boxes` itself
    DATA/imagenet/robust_resnet50.*        .safetensors, .pt or .pth: a state dict of torchvision's ResNet-50, trained
                                           adversarially, for images that are normalised as torchvision's are; optional

DATA is the data folder, $HOLDFAST_DATA or the user's cache. Classes are some of Imagenette's ten, or all 1,000, which
are then counted in the order of their names, as torchvision's networks do. Of every class the first images by name are
taken, equally many, and one where there are more classes than images asked for.

Settings name images and weights by their content. The images are known to `studies.images` by a name that holds their
checksum, once `offer` was called: its own file is code of every cell, and so is left as it is.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from holdfast.data import IMAGENETTE, Dataset, read_box_folder
from holdfast.data.errors import DataError, MissingDataError
from holdfast.data.finding import roots

NAME = "imagenet"
CLASSES = 1000
ROBUST = ("robust_resnet50.safetensors", "robust_resnet50.pt", "robust_resnet50.pth")
WANTED = (
    "DATA/imagenet/images/<class>/*.JPEG (the folders of Imagenette's classes, or of all 1,000), "
    "DATA/imagenet/boxes/<class>/*.xml (their ILSVRC annotations) and, for the robust network, "
    "DATA/imagenet/robust_resnet50.safetensors or .pt (a state dict of torchvision's resnet50), where DATA is the "
    "folder of --data-dir; the standard network comes with torchvision"
)
Folder = str | os.PathLike | None
_ENDINGS = {".jpeg", ".jpg", ".png"}  # that `read_box_folder` reads


@dataclass(frozen=True)
class Chosen:
    """The images that are taken of a folder.

    Attributes:
        folder: with `images` and `boxes`.
        per_class: so many of every class, the first by name.
        numbers: folder -> class of the network; None where the folders are counted.
        checksum: sha256 over the files of these images and their boxes.

    >>> Chosen(Path("DATA/imagenet"), 10, IMAGENETTE, "0123456789abcdef" * 4).name
    'imagenet-0123456789abcdef'
    """

    folder: Path
    per_class: int
    numbers: Mapping[str, int] | None
    checksum: str

    @property
    def name(self) -> str:
        """What the images are called in settings."""
        return f"{NAME}-{self.checksum[:16]}"


def images(data_dir: Folder, points: int) -> dict[str, Any]:
    """The settings of a cell that name the images.

    Raises:
        DataError: they are not there, or not as described above; the message says what to put where.
    """
    name = choose(data_dir, points).name
    offered = {"function": f"{__name__}.{offer.__name__}", "name": name, "points": points}
    return {"data": name, "points": points, "provide": offered}


def network(data_dir: Folder, model: str, own_weights: bool) -> dict[str, Any]:
    """The settings of a cell that name a network: the library's own weights, or those of the user.

    Args:
        data_dir: the data folder.
        model: as `networks.load_pretrained` calls it, "torchvision/...".
        own_weights: whether they are the user's.

    Raises:
        DataError: torchvision is not installed, or there is no file of weights.
    """
    weights = default_weights(model)
    if not own_weights:
        return {"model": model, "weights": weights}
    if (file := robust_weights(data_dir)) is None:
        raise MissingDataError(f"DATA/imagenet holds none of {', '.join(ROBUST)}; expected {WANTED}.")
    return {"model": model, "weights": "robust", "sha256": checksum(file)}


def offer(data_dir: Folder, name: str, points: int) -> None:
    """Let `studies.images` know the images by their name; they are read when they are first asked for."""
    from holdfast.studies.images import MANIFOLDS

    MANIFOLDS[name] = partial(read, data_dir, name, points)


def read(data_dir: Folder, name: str, points: int) -> Dataset:
    """The images, as test images; there are none to train on.

    Raises:
        DataError: they are not there, cannot be read, or are not those of that name.
    """
    chosen = choose(data_dir, points)
    if chosen.name != name:
        raise DataError(
            f"studies: DATA/imagenet holds the images {chosen.name}, but the run was planned with {name}; put those "
            "back, have the same folder on every machine, or start again."
        )
    folders = (chosen.folder / "images", chosen.folder / "boxes")
    split, classes = read_box_folder(*folders, per_class=chosen.per_class, numbers=chosen.numbers)
    return Dataset(name, split[:0], split, classes, chosen.checksum)


def choose(data_dir: Folder, points: int) -> Chosen:
    """The images that are taken.

    Args:
        data_dir: the data folder.
        points: how many images are asked for.

    Raises:
        DataError: they are not there, or not as described above; the message says what to put where.
    """
    folder = _folder(data_dir)
    if folder is None:
        raise MissingDataError(f"ImageNet cannot be passed on; who has it puts it where this panel finds it: {WANTED}.")
    for part in ("images", "boxes"):
        if not (folder / part).is_dir():
            raise MissingDataError(f"DATA/imagenet has no folder {part!r}; expected {WANTED}.")
    classes = sorted(entry.name for entry in (folder / "images").iterdir() if entry.is_dir())
    numbers = _numbers(classes)
    per_class = max(1, points // len(classes))
    return Chosen(folder, per_class, numbers, _checksum(folder, classes, per_class))


def robust_weights(data_dir: Folder) -> Path | None:
    """The user's file with the weights of the robust network, if there is one."""
    folder = _folder(data_dir)
    found = (folder / name for name in ROBUST if folder is not None)
    return next((file for file in found if file.is_file()), None)


def default_weights(model: str) -> str:
    """What torchvision calls the weights that a network of it has by default.

    Raises:
        MissingDataError: torchvision is not installed.
    """
    try:
        models = import_module("torchvision").models
    except ImportError as error:
        raise MissingDataError(
            f"The images of DATA/imagenet are there, but not their network: torchvision is not installed ({error}); "
            "pip install torchvision, in the version that fits your torch."
        ) from error
    return str(models.get_model_weights(model.partition("/")[2]).DEFAULT)


def _folder(data_dir: Folder) -> Path | None:
    return next((root / NAME for root in roots(data_dir) if (root / NAME).is_dir()), None)


def _numbers(classes: list[str]) -> Mapping[str, int] | None:
    unknown = [name for name in classes if name not in IMAGENETTE]
    if classes and not unknown:
        return IMAGENETTE
    if len(classes) == CLASSES:
        return None
    raise DataError(
        f"DATA/imagenet/images has {len(classes)} folders{', such as ' if unknown else ''}{', '.join(unknown[:2])}; "
        f"which classes they are is known for Imagenette's ten and for all {CLASSES:,}: expected {WANTED}."
    )


def _checksum(folder: Path, classes: list[str], per_class: int) -> str:
    """The sha256 over names and contents of the images that are taken, and of their annotations."""
    digest, annotated = hashlib.sha256(), False
    for image, annotation in _files(folder, classes, per_class):
        annotated |= annotation is not None
        for file in (image, annotation):
            said = f"{file.relative_to(folder)} {checksum(file)}" if file else "no annotation"
            digest.update(f"{said}\n".encode())
    if not annotated:
        raise DataError(f"DATA/imagenet/boxes has no annotation of the images that are taken; expected {WANTED}.")
    return digest.hexdigest()


def _files(folder: Path, classes: list[str], per_class: int) -> Iterator[tuple[Path, Path | None]]:
    """The images that are taken and their annotations, as `read_box_folder` finds them."""
    for name in classes:
        found = sorted(file for file in (folder / "images" / name).iterdir() if file.suffix.lower() in _ENDINGS)
        for image in found[:per_class]:
            where = [folder / "boxes" / name / f"{image.stem}.xml", folder / "boxes" / f"{image.stem}.xml"]
            yield image, next((file for file in where if file.is_file()), None)


def checksum(file: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
