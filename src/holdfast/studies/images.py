"""Images of a study's cells: training images and test points, from settings alone.

data    name of a data set, or one of `MANIFOLDS`; `train`: how many of its training images, class-balanced;
        `points`: how many test images
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from holdfast.data import Dataset, Split, balanced_subset, embedded_moons, embedded_spheres, load
from holdfast.studies.engine.kind import Context

MANIFOLDS = {"embedded-moons": embedded_moons, "embedded-spheres": embedded_spheres}  # made, tangents known


@lru_cache(maxsize=2)
def _load(name: str, data_dir: Path | None) -> Dataset:
    return MANIFOLDS[name]() if name in MANIFOLDS else load(name, data_dir=data_dir)


def dataset_of(settings: Mapping[str, Any], context: Context) -> Dataset:
    """The data set that `settings["data"]` names; the last two are kept in memory."""
    return _load(settings["data"], context.data_dir)


def training_images(settings: Mapping[str, Any], context: Context) -> Split:
    """The training images, or `settings["train"]` of them, drawn with `settings["images_seed"]`, by default 0."""
    return _some(dataset_of(settings, context).train, settings, "train")


def test_points(settings: Mapping[str, Any], context: Context) -> Split:
    """The test images, or `settings["points"]` of them, drawn with `settings["images_seed"]`, by default 0."""
    return _some(dataset_of(settings, context).test, settings, "points")


def _some(split: Split, settings: Mapping[str, Any], name: str) -> Split:
    count = settings.get(name)
    if count is None or count >= len(split):
        return split
    return balanced_subset(split, count, settings.get("images_seed", 0))
