"""Codecs: how each kind of artifact is written to one file and read back. Nothing is pickled."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from holdfast.ensemble import Ensemble

if TYPE_CHECKING:
    import pandas

Value = TypeVar("Value")


class Codec(Protocol[Value]):
    """Writes a value to a file that ends in `suffix`, and reads it back."""

    suffix: str

    def write(self, file: Path, value: Value) -> None:
        """Write `value` to `file`."""

    def read(self, file: Path) -> Value:
        """Read what `write` wrote."""


@dataclass(frozen=True)
class EnsembleCodec:
    """An `Ensemble` as a bank; the architecture comes from `network`, `data` goes into the manifest."""

    network: nn.Module
    data: Mapping[str, Any] | None = None
    suffix: str = ".safetensors"

    def write(self, file: Path, value: Ensemble) -> None:
        """Write weights and diagnostics."""
        value.save(file, data=self.data)

    def read(self, file: Path) -> Ensemble:
        """Read weights and diagnostics."""
        return Ensemble.load(file, self.network)


@dataclass(frozen=True)
class BankCodec:
    """An `Ensemble` as a bank whose architecture is built again from its recipe."""

    suffix: str = ".safetensors"

    def write(self, file: Path, value: Ensemble) -> None:
        """Write weights and diagnostics."""
        value.save(file)

    def read(self, file: Path) -> Ensemble:
        """Read weights and diagnostics."""
        from holdfast.banks import Bank
        from holdfast.networks import rebuild

        bank = Bank.open(file)
        network = rebuild(bank.manifest["architecture"]["recipe"])
        return Ensemble.load(file, network)


@dataclass(frozen=True)
class PretrainedCodec:
    """An `Ensemble` of a library's network as a bank; the library builds the architecture again."""

    suffix: str = ".safetensors"

    @staticmethod
    def recipe(model: str) -> dict[str, str]:
        """What the network must carry as its `recipe`: how `networks.load_pretrained` calls it.

        >>> PretrainedCodec.recipe("torchvision/resnet50")
        {'name': 'pretrained', 'model': 'torchvision/resnet50'}
        """
        return {"name": "pretrained", "model": model}

    def write(self, file: Path, value: Ensemble) -> None:
        """Write weights."""
        value.save(file)

    def read(self, file: Path) -> Ensemble:
        """Read weights."""
        from holdfast.banks import Bank
        from holdfast.networks import load_pretrained

        return Ensemble.load(file, load_pretrained(Bank.open(file).manifest["architecture"]["recipe"]["model"]))


@dataclass(frozen=True)
class TensorsCodec:
    """Named tensors, and facts about them as JSON, as safetensors."""

    suffix: str = ".safetensors"

    def write(self, file: Path, value: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
        """Write `(tensors, facts)`."""
        tensors, facts = value
        save_file({k: v.contiguous() for k, v in tensors.items()}, file, {"facts": json.dumps(facts)})

    def read(self, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Read `(tensors, facts)`."""
        with safe_open(file, "pt") as handle:
            names = handle.keys()
            return {k: handle.get_tensor(k) for k in names}, json.loads(handle.metadata()["facts"])


@dataclass(frozen=True)
class TableCodec:
    """A data frame as Parquet."""

    suffix: str = ".parquet"

    def write(self, file: Path, value: "pandas.DataFrame") -> None:
        """Write a data frame."""
        value.to_parquet(file, index=False)

    def read(self, file: Path) -> "pandas.DataFrame":
        """Read a data frame."""
        import pandas

        return pandas.read_parquet(file)


@dataclass(frozen=True)
class JsonCodec:
    """Anything that JSON can hold."""

    suffix: str = ".json"

    def write(self, file: Path, value: Any) -> None:
        """Write JSON."""
        file.write_text(json.dumps(value, indent=1), encoding="utf-8")

    def read(self, file: Path) -> Any:
        """Read JSON."""
        return json.loads(file.read_text(encoding="utf-8"))
