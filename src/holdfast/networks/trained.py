"""Trained networks that come with the package: small ones, with the record of their training.

They are made by `scripts/train_networks.py`; the same script on the same machine gives the same weights. Robust ones
were trained on images attacked in l2, beginning with the standard one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from torch import nn

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
        width: of its `compact` architecture.
        begins_with: the network whose weights its training began with, None for random ones.
    """

    data: str
    shape: tuple[int, int, int]
    classes: int
    trained: str
    width: int = 16
    begins_with: str | None = None

    def build(self) -> nn.Module:
        """The architecture, with weights of seed 0."""
        return compact(self.shape, self.classes, width=self.width)


_PLACED, _TINY = (1, 56, 56), (3, 64, 64)
TRAINED: Mapping[str, Trained] = MappingProxyType(
    {
        "placed-standard": Trained("placed", _PLACED, 5, "standard"),
        "placed-robust": Trained("placed", _PLACED, 5, "adversarial, l2 0.5", begins_with="placed-standard"),
        "tiny-standard": Trained("tiny-imagenet", _TINY, 20, "standard", 32),
        "tiny-robust": Trained("tiny-imagenet", _TINY, 20, "adversarial, l2 1", 32, "tiny-standard"),
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
    return Ensemble.load(FOLDER / f"{name}.safetensors", TRAINED[name].build())
