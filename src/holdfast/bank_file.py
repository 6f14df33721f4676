"""Bank file: a stack of weights on disk, with a manifest of how it came about. Nothing in it can run code.

One safetensors file: every weight under its state-dict name with a leading draw axis, and one metadata entry of JSON

    {"manifest": {schema, architecture, prior, data, sampler, seed, chains, draws, versions, checksums},
     "diagnostics": ..., "checksum": ...}

safetensors itself notices a file that was cut off, not a byte that changed: so the manifest holds a CRC-32 of every
draw, checked whenever a draw is read, and the entry holds one of itself and of the weights' names and shapes, checked
whenever a file is opened. The same content gives the same bytes: the entry is one, its keys are sorted.
"""

import json
import os
import platform
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from holdfast.chosen_draws import makes_sense

ENTRY = "holdfast"
KEYS = {"manifest", "diagnostics", "checksum"}
SCHEMA = 1  # of what is written; all up to it are read, and files without one
MANIFEST = {  # types of what readers rely on, where it is there
    "schema": int, "architecture": dict, "data": dict | None, "chains": int | None, "draws": int,
    "checksums": list | None, "sampler": str | None, "versions": dict | None,
}  # fmt: skip
DIAGNOSTICS = {"method": str, "settings": dict, "summary": dict, "history": dict, "warnings": list}


def manifest_of(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    diagnostics: Mapping[str, Any] | None,
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a bank says of itself.

    Args:
        network: the architecture; where a factory of `holdfast.networks` made it, `recipe` builds it again.
        weights: stacks `[S, ...]`.
        diagnostics: of the inference method, as a dict.
        data: what the weights were inferred from, such as `{"name": ..., "checksum": ...}`; None for what the
            diagnostics say.
    """
    import holdfast

    if data is not None and not isinstance(data, Mapping):
        raise TypeError(
            f"Ensemble.save: data must be a dict such as {{'name': dataset.name, 'checksum': dataset.checksum}}, got "
            f"{data!r:.80}."
        )
    settings = (diagnostics or {}).get("settings", {})
    told = settings.get("data")  # inference methods say which images and labels they were given
    first = next(iter(weights.values()))
    return {
        "schema": SCHEMA,
        "architecture": {
            "recipe": getattr(network, "recipe", None),
            "layers": str(network),
            "parameters": sum(p.numel() for p in network.parameters()),
        },
        "prior": settings.get("prior"),
        "data": dict(data) if data else dict(told) if isinstance(told, Mapping) else None,
        "sampler": (diagnostics or {}).get("method"),
        "seed": settings.get("seed"),
        "chains": settings.get("chains"),
        "draws": len(first),
        "versions": {
            "holdfast": holdfast.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "checksums": [draw_checksum({k: v[s] for k, v in weights.items()}) for s in range(len(first))],
    }


def draw_checksum(state: Mapping[str, Tensor]) -> str:
    """CRC-32 of one draw: its tensors' bytes in the order of their names.

    >>> draw_checksum({"b": torch.zeros(2), "a": torch.ones(3)})
    'ea3934a4'
    """
    total = 0
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous().reshape(-1)
        total = zlib.crc32(values.view(torch.uint8).numpy(), total)
    return f"{total:08x}"


def write(
    path: str | os.PathLike,
    weights: Mapping[str, Tensor],
    manifest: Mapping[str, Any],
    diagnostics: Mapping[str, Any] | None,
) -> Path:
    """Write a bank whole or not at all: nothing is left behind where the disk is full."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f"Ensemble.save: {path} is a folder; name a file in it, such as {path / 'draws.safetensors'}."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Ensemble.save: there is no folder {path.parent} for {path.name}; make it first.")
    found = json.loads(json.dumps({"manifest": manifest, "diagnostics": diagnostics}))  # as it will be read
    checksum = _header_checksum(found, {k: tuple(v.shape) for k, v in weights.items()})
    header = {ENTRY: json.dumps({**found, "checksum": checksum}, sort_keys=True)}
    partial = path.with_name(path.name + ".partial")
    try:
        save_file({k: v.contiguous() for k, v in weights.items()}, partial, header)
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):
            raise OSError(f"{path} could not be written ({error}); is there room on the disk?") from error
        raise
    return path


@contextmanager
def readable(call: str, path: str | os.PathLike) -> Iterator[None]:
    """Turn what safetensors says of a file that is no whole bank into one clear error."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{call}: there is no file {path}.") from error
    except SafetensorError as error:
        raise ValueError(
            f"{call}: {path} is no whole safetensors file ({error}): it was cut off, damaged, or has another format; "
            "make it again, or use banks.from_state_dicts for PyTorch checkpoints."
        ) from error


def open_file(call: str, path: str | os.PathLike) -> Any:
    """The open file of a bank, to read tensors or slices of them from."""
    with readable(call, path):
        return safe_open(path, "pt")


def header_of(call: str, path: str | os.PathLike, file: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Manifest and diagnostics of an open file; an empty manifest for safetensors files of others."""
    metadata = file.metadata() or {}
    if ENTRY not in metadata and not any('"manifest"' in text for text in metadata.values()):
        return {}, None
    try:
        found = json.loads(metadata[ENTRY])
        if not isinstance(found, dict) or not found.keys() <= KEYS:
            raise ValueError("it is no manifest")
        checksum = found.pop("checksum", None)  # files written before there was one have none
        shapes = {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}  # noqa: SIM118, not a dict
        if checksum is not None and checksum != _header_checksum(found, shapes):
            raise ValueError("its checksum differs")
        manifest, diagnostics = found.get("manifest") or {}, found.get("diagnostics")
        if not isinstance(manifest, dict) or not isinstance(diagnostics, dict | None):
            raise ValueError("it is no manifest")
        _check_types(manifest, diagnostics)
    except (ValueError, KeyError, RecursionError) as error:
        said = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{call}: the manifest of {path} cannot be read ({said}): the file was damaged; make it again."
        ) from error
    if manifest.get("schema", SCHEMA) > SCHEMA:
        raise ValueError(
            f"{call}: {path} has schema {str(manifest['schema'])[:20]}, of a later holdfast; this version knows those "
            f"up to {SCHEMA}: upgrade it."
        )
    return manifest, diagnostics


def _check_types(manifest: Mapping[str, Any], diagnostics: Mapping[str, Any] | None) -> None:
    """What is said must be of the kind that readers expect."""
    said = [(k, v, MANIFEST.get(k)) for k, v in manifest.items()]
    said += [(k, v, DIAGNOSTICS.get(k)) for k, v in (diagnostics or {}).items()]
    wrong = [k for k, v, kind in said if kind is not None and (not isinstance(v, kind) or isinstance(v, bool))]
    chains, history = manifest.get("chains"), (diagnostics or {}).get("history") or {}
    if not wrong and chains is not None and not 1 <= chains <= 1 << 32:
        wrong.append("chains")
    if not wrong and not all(isinstance(text, str) for text in manifest.get("checksums") or ()):
        wrong.append("checksums")
    if not wrong and not all(isinstance(curve, list) for curve in history.values()):
        wrong.append("history")
    chosen = ((diagnostics or {}).get("settings") or {}).get("chosen") if not wrong else None
    if chosen is not None and not makes_sense(chosen):
        wrong.append("chosen")
    if not wrong and diagnostics is not None and not {"method"} <= diagnostics.keys() <= DIAGNOSTICS.keys():
        wrong.append("diagnostics")
    if wrong:
        raise ValueError(f"{wrong[0][:40]!r} makes no sense")


def _header_checksum(found: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """CRC-32 of what is said of the weights, and of their names and shapes."""
    layout = {name: list(shapes[name]) for name in sorted(shapes)}
    return f"{zlib.crc32(json.dumps([found, layout], sort_keys=True).encode()):08x}"


def check_draw(call: str, path: str | os.PathLike, manifest: Mapping[str, Any], draw: int, checksum: str) -> None:
    """Raise where a draw is not what the manifest says."""
    expected = manifest.get("checksums")
    if expected is not None and (draw >= len(expected) or expected[draw] != checksum):
        raise ValueError(
            f"{call}: draw {draw} of {path} is damaged: its checksum is {checksum}, the manifest says "
            f"{expected[draw] if draw < len(expected) else 'nothing'}; make the file again or leave this draw out."
        )


def check_kinds(call: str, path: str | os.PathLike, network: nn.Module, file: Any) -> None:
    """Raise where a weight that is a floating-point number in the network is none in an open file, or the reverse."""
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        kind = file.get_slice(name).get_dtype()
        if ("F" in kind) != value.is_floating_point():
            raise ValueError(f"{call}: {name} of {path} is {kind}, the network has {value.dtype}; make the file again.")


def check_shapes(
    call: str, path: str | os.PathLike, expected: Mapping[str, tuple], found: Mapping[str, tuple], whose: str
) -> None:
    """Raise where the weights of one draw in a file are not those of `whose`, naming the first difference."""
    differing = sorted({k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)})
    if differing:
        name = differing[0]
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        here, there = (str(shapes.get(name, "missing")) for shapes in (found, expected))
        raise ValueError(
            f"{call}: {path} does not fit {whose}: {name} is {here} in the file and {there} in {whose}{more}; "
            "build the network with the saved settings."
        )
