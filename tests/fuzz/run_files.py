"""What runs leave and what they are told: banks, checkpoints, run folders; studies, claims, rules, sizes of memory.

Of each: intact inputs, how they are read, what must hold of what is accepted.
"""

import functools
import io
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mutations import Source

from holdfast import machine
from holdfast.banks import Bank, from_pyro, from_state_dicts
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.inference.hmc.checkpoints import Checkpoints
from holdfast.networks import fc2
from holdfast.studies.codecs import JsonCodec
from holdfast.studies.reproduce.study import HOME, Study, read
from holdfast.studies.run_folder import RunFolder
from holdfast.studies.runs import leftovers, open_run, verify_run

# Banks and checkpoints


NETWORK = fc2((4,), 3, width=5, seed=0)


def draws() -> Ensemble:
    noise = torch.Generator().manual_seed(1)
    weights = {k: torch.randn(4, *v.shape, generator=noise) for k, v in NETWORK.state_dict().items()}
    told = Diagnostics("sghmc", {"seed": 7, "chains": 2, "prior": {"name": "fan_in"}}, {"acceptance": 0.8})
    return Ensemble(Ensemble.from_networks(NETWORK).network, weights, told)


def banks() -> list[Source]:
    with tempfile.TemporaryDirectory() as folder:
        whole = draws().save(Path(folder) / "bank.safetensors").read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header, values = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    told = json.loads(header["__metadata__"]["holdfast"])
    told.pop("checksum", None)  # else nothing but the checksum would be put to the test

    def pack(mutant: bytes, entry: bool) -> bytes:
        text = {**header, "__metadata__": {"holdfast": mutant.decode()}} if entry else mutant
        packed = json.dumps(text).encode() if entry else text
        return len(packed).to_bytes(8, "little") + packed + values

    return [
        Source([json.dumps(told).encode()], functools.partial(pack, entry=True), json=True),
        Source([json.dumps(header).encode()], functools.partial(pack, entry=False), json=True),
        Source([whole]),
    ]


def read_bank(file: Path) -> Ensemble:
    bank = Bank.open(file, NETWORK)
    one = Ensemble.load(file, NETWORK)
    together = bank.ensemble()
    assert len(one) == len(together) == len(bank)
    return together


def bank_holds(content: bytes, found: Ensemble) -> None:
    for name, value in NETWORK.state_dict().items():
        assert found.weights[name].shape == (len(found), *value.shape)
    json.dumps(found.diagnostics.settings if found.diagnostics else {})


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def state_dicts() -> list[Source]:
    state = NETWORK.state_dict()
    legacy = io.BytesIO()
    torch.save(state, legacy, _use_new_zipfile_serialization=False)
    with tempfile.TemporaryDirectory() as folder:
        one = Ensemble.from_networks(NETWORK).save(Path(folder) / "x.safetensors").read_bytes()
    return [Source([legacy.getvalue()]), Source([saved(state), saved({"state_dict": state}), legacy.getvalue(), one])]


def read_state_dicts(file: Path) -> Ensemble:
    return from_state_dicts([file], NETWORK)


def pyro_stores() -> list[Source]:
    params = {f"{n}_loc": v for n, v in NETWORK.state_dict().items()}
    params |= {f"{n}_scale": v.abs() for n, v in NETWORK.state_dict().items()}
    store = {"params": params, "constraints": {}}
    legacy = io.BytesIO()
    torch.save(store, legacy, _use_new_zipfile_serialization=False)
    return [Source([legacy.getvalue()]), Source([saved(store), legacy.getvalue()])]


def read_pyro_store(file: Path) -> Ensemble:
    return from_pyro(file, NETWORK, draws=2, seed=0)


def checkpoints() -> list[Source]:
    with tempfile.TemporaryDirectory() as folder:
        record = {"before": "a", "accepted": [True, False], "energy": 1.5}
        whole = Checkpoints(Path(folder)).write("draw", 0, {"z": torch.arange(6.0), "m": torch.ones(2)}, record)
        content = whole.read_bytes()
    size = int.from_bytes(content[:8], "little")
    pack = lambda mutant: len(mutant).to_bytes(8, "little") + mutant + content[8 + size :]
    return [Source([content]), Source([content[8 : 8 + size].rstrip()], pack, json=True)]


def read_checkpoint(file: Path) -> Any:
    """A damaged one is None with a warning, and is gone."""
    return Checkpoints(file.parent).read("draw", 0)


# Manifests of runs


def manifests() -> list[Source]:
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        run.describe(command="holdfast demo", job={"seed": 0})
        run.stage("scores/a", {"seed": 0}, lambda: [1, 2], JsonCodec())
        facts = json.loads((Path(folder) / "manifest.json").read_text())
        record = json.loads((Path(folder) / "scores/a.record.json").read_text())
    older = json.dumps({**facts, "schema": 1, "stages": {"scores/a": record, "b": record}}).encode()
    newer = json.dumps(facts | {"stages": {"b": record}}).encode()
    return [Source([older, newer], json=True), Source([older, newer])]


def records() -> list[Source]:
    stages = [content for source in manifests() for content in source.intact]
    found = [json.dumps(json.loads(text)["stages"]["b"]).encode() for text in stages[:1]]
    return [Source(found, json=True), Source(found)]


def read_manifest_file(file: Path) -> Any:
    return look_at(file.parent)


def read_record_file(file: Path) -> Any:
    (file.parent / "manifest.json").write_text('{"schema": 2}')
    return look_at(file.parent)


def look_at(folder: Path) -> Any:
    """What `holdfast runs` and a run that goes on do with a folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = RunFolder(folder)
        run.stage("b", {"seed": 1}, lambda: 3, JsonCodec())
    found = open_run(folder)
    states = verify_run(found)
    list(leftovers(found))
    return found.seconds, states


def look_holds(content: bytes, found: tuple) -> None:
    seconds, states = found
    assert 0 <= seconds < float("inf")
    assert set(states.values()) <= {"whole", "damaged", "missing", "outside"}


# What runs are told


def sizes() -> list[Source]:
    return [Source([b"8GB", b"512 MiB", b"60%", b"1.5TiB", b"100"])]


def read_size(content: bytes) -> int:
    return machine.memory_limit(content.decode("latin-1"))


def declarations(folder: str) -> list[Source]:
    return [Source([file.read_bytes() for file in sorted((HOME / folder).glob("*.toml"))])]


def read_declaration(model: type) -> Callable[[Path], Any]:
    return lambda file: read(file, model)


def study_holds(content: bytes, found: Study) -> None:
    assert found.panels
    assert all(panel.title for panel in found.panels)
