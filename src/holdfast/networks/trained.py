"""Trained networks that come with the package: small ones for generated data, with the record of their training.

They are made by `scripts/train_placed.py`; the same script on the same machine gives the same weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from holdfast.ensemble import Ensemble
from holdfast.networks.compact import compact

FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Trained:
    """A network that comes with the package.

    Attributes:
        data: the data set it was trained on, as `data.load` calls it, with its default settings.
        shape, classes: of one image; how many classes.
        trained: how, in a few words.
    """

    data: str
    shape: tuple[int, int, int]
    classes: int
    trained: str


TRAINED: Mapping[str, Trained] = MappingProxyType(
    {
        "placed-standard": Trained("placed", (1, 56, 56), 5, "standard"),
    }
)


def load_trained(name: str) -> Ensemble:
    """A network that comes with the package; its `diagnostics` are the record of its training.

    Raises:
        ValueError: there is no network of that name.

    >>> record = load_trained("placed-standard").diagnostics
    >>> record.summary["test_accuracy"] > 0.95
    True
    """
    if name not in TRAINED:
        raise ValueError(f"networks.load_trained: no network called {name!r}; there are {', '.join(TRAINED)}.")
    entry = TRAINED[name]
    return Ensemble.load(FOLDER / f"{name}.safetensors", compact(entry.shape, entry.classes))
