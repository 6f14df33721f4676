"""Data sets: images in [0, 1] with labels and boxes, from checked files, from a download, or from a formula."""

from holdfast.data.box_folder import IMAGENETTE, read_box_folder
from holdfast.data.catalogue import ENTRIES
from holdfast.data.dataset import Dataset, Split
from holdfast.data.entry import Entry
from holdfast.data.errors import DataError, MissingDataError
from holdfast.data.fetching import fetch
from holdfast.data.half_moons import half_moons
from holdfast.data.loading import load
from holdfast.data.manifolds import ManifoldSplit, embedded_moons, embedded_spheres
from holdfast.data.placed import PlacedSplit, placed
from holdfast.data.subsets import balanced_subset
from holdfast.data.tangents import local_pca, shift_tangents
from holdfast.data.verifying import Check, verify

__all__ = [
    "ENTRIES",
    "IMAGENETTE",
    "Check",
    "DataError",
    "Dataset",
    "Entry",
    "ManifoldSplit",
    "MissingDataError",
    "PlacedSplit",
    "Split",
    "balanced_subset",
    "embedded_moons",
    "embedded_spheres",
    "fetch",
    "half_moons",
    "load",
    "local_pca",
    "placed",
    "read_box_folder",
    "shift_tangents",
    "verify",
]
