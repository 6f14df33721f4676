"""State dicts of other programs become ensembles, or one clear error; nothing they hold is run."""

from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from holdfast.banks import from_state_dicts
from holdfast.ensemble import Ensemble
from holdfast.networks import fc2

MEMBERS = [fc2((4,), 3, width=5, seed=s) for s in range(12)]
STATES = [m.state_dict() for m in MEMBERS]


def same(a, b):
    return all(torch.equal(v, b.weights[k]) for k, v in a.weights.items())


EXPECTED = Ensemble.from_networks(MEMBERS)


def test_dicts_checkpoints_and_files(tmp_path):
    assert same(from_state_dicts(STATES, MEMBERS[0]), EXPECTED)
    wrapped = [{"state_dict": {f"module.{k}": v for k, v in s.items()}, "epoch": 3} for s in STATES]
    assert same(from_state_dicts(wrapped, MEMBERS[0]), EXPECTED)
    for i, state in enumerate(STATES):
        torch.save(state, tmp_path / f"net_{i}.pt")  # 10 follows 9, not 1
    assert same(from_state_dicts(tmp_path, MEMBERS[0]), EXPECTED)
    mixed = [tmp_path / "net_0.pt", STATES[1], tmp_path / "two"]
    save_file(STATES[2], tmp_path / "two")
    assert same(from_state_dicts(mixed, MEMBERS[0]), EXPECTED[:3])
    torch.save(STATES[3], tmp_path / "old", _use_new_zipfile_serialization=False)
    assert same(from_state_dicts([tmp_path / "old"], MEMBERS[0]), EXPECTED[3])


@pytest.mark.parametrize("extra", range(8))
def test_safetensors_of_any_header_length_is_known_as_such(tmp_path, extra):
    save_file(STATES[0], tmp_path / "s", {"x": "y" * 16 * extra})
    assert same(from_state_dicts([tmp_path / "s"], MEMBERS[0]), EXPECTED[0])


def test_other_names_in_order():
    renamed = [OrderedDict((f"model.{i}.w", v) for i, v in enumerate(s.values())) for s in STATES]
    assert same(from_state_dicts(renamed, MEMBERS[0], names="in order"), EXPECTED)
    with pytest.raises(ValueError, match=r"state dict 0 lacks \['linear1.weight', .* pass names='in order'"):
        from_state_dicts(renamed, MEMBERS[0])
    with pytest.raises(ValueError, match=r"names must be 'exact' or 'in order'"):
        from_state_dicts(STATES, MEMBERS[0], names="any")


def test_batch_normalisation_keeps_its_buffers():
    network = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))
    network(torch.rand(8, 4))
    ensemble = from_state_dicts([network.state_dict()], network)
    assert torch.equal(ensemble.logits(torch.ones(2, 4))[0], network.eval()(torch.ones(2, 4)))


def test_errors_name_the_draw_and_the_weight(tmp_path):
    short = {k: v for k, v in STATES[1].items() if k != "output.bias"}
    with pytest.raises(ValueError, match=r"state dict 1 lacks \['output.bias'\] and has nothing besides"):
        from_state_dicts([STATES[0], short], MEMBERS[0])
    with pytest.raises(ValueError, match=r"state dict 0 holds 5 tensors, the network 6"):
        from_state_dicts([short], MEMBERS[0], names="in order")
    with pytest.raises(ValueError, match=r"linear1.weight is \(5, 4\) in state dict 0 and \(6, 4\) in the network"):
        from_state_dicts(STATES, fc2((4,), 3, width=6))
    with pytest.raises(ValueError, match=r"output.bias of state dict 0 holds NaN"):
        from_state_dicts([STATES[0] | {"output.bias": torch.full((3,), torch.nan)}], MEMBERS[0])
    with pytest.raises(ValueError, match=r"expected a dict from names to tensors"):
        from_state_dicts([{"a": 1}], MEMBERS[0])
    with pytest.raises(ValueError, match=r"at least one state dict"):
        from_state_dicts([], MEMBERS[0])
    with pytest.raises(FileNotFoundError, match=r"there is no folder"):
        from_state_dicts(tmp_path / "x", MEMBERS[0])
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        from_state_dicts([tmp_path / "x"], MEMBERS[0])


class Runs:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize("content", ["object", "cut", "text"])
def test_files_that_hold_more_or_less_than_tensors(tmp_path, content, capsys):
    path = tmp_path / "net.pt"
    torch.save(Runs() if content == "object" else STATES[0], path)
    if content == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    if content == "text":
        path.write_text("not weights at all")
    with pytest.raises(ValueError, match=r"cannot be read as tensors alone .* damaged, or holds objects"):
        from_state_dicts([path], MEMBERS[0])
    assert "must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("states", [None, 3, {"weight": torch.zeros(3, 4)}])
def test_what_is_no_list_of_state_dicts(states):
    with pytest.raises(TypeError, match=r"^banks.from_state_dicts: states must be a folder or a list of state dict"):
        from_state_dicts(states, nn.Linear(4, 3))
    with pytest.raises(TypeError, match=r"^banks.from_state_dicts: network must be an nn.Module, got NoneType"):
        from_state_dicts([], None)
