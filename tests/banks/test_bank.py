"""A bank read draw by draw is the ensemble that was saved."""

import pytest
import torch

from holdfast.banks import Bank
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.networks import fc2, normalised, rebuild

NETWORK = normalised(fc2((4,), 3, width=5), 0.5, 0.25)


def drawn(draws, seed=0, chains=1):
    networks = [normalised(fc2((4,), 3, width=5, seed=100 * seed + s), 0.5, 0.25) for s in range(draws)]
    ensemble = Ensemble.from_networks(networks)
    said = Diagnostics("hmc", {"seed": seed, "chains": chains}, {"acceptance": 0.7}, {"energy": [1.0]}, ["short"])
    return Ensemble(ensemble.network, ensemble.weights, said)


def same(a, b):
    return a.weights.keys() == b.weights.keys() and all(torch.equal(v, b.weights[k]) for k, v in a.weights.items())


def test_one_file(tmp_path):
    ensemble = drawn(5)
    bank = Bank.open(ensemble.save(tmp_path / "bank.safetensors"), NETWORK)
    assert len(bank) == 5
    assert bank.diagnostics == ensemble.diagnostics
    assert all(same(one, ensemble[i]) for i, one in enumerate(bank))
    assert same(bank[-1], ensemble[4])
    assert same(bank.ensemble(), ensemble)
    assert same(bank.ensemble(slice(1, 4, 2)), ensemble[1:4:2])
    assert same(bank.ensemble([3, -5]), ensemble[[3, 0]])
    x = torch.rand(3, 4)
    assert torch.equal(bank[2].logits(x), ensemble[2].logits(x))
    with pytest.raises(IndexError, match=r"draw 5 of a bank of 5"):
        bank[5]
    with pytest.raises(ValueError, match=r"names none of the 5 draws"):
        bank.ensemble(slice(7, 9))
    with pytest.raises(
        TypeError, match=r"Bank: expected the number of one draw, got slice\(0, 2, None\); bank\.ensemble"
    ):
        bank[0:2]
    with pytest.raises(
        TypeError, match=r"Bank\.ensemble: expected a slice or a list of draws, got 3; bank\[3\] is one"
    ):
        bank.ensemble(3)


def test_the_manifest_is_enough_to_build_the_network(tmp_path):
    path = drawn(2).save(tmp_path / "bank.safetensors")
    bank = Bank.open(path)
    with pytest.raises(ValueError, match=r"opened without a network"):
        bank[0]
    again = Bank.open(path, rebuild(bank.manifest["architecture"]["recipe"]))
    assert same(again.ensemble(), drawn(2))


def test_several_files_follow_one_another(tmp_path):
    parts = [drawn(2, seed=s) for s in range(3)]
    for i, part in enumerate(parts):
        part.save(tmp_path / f"chain-{i:02}.safetensors")
    bank = Bank.open(tmp_path, NETWORK)
    assert (len(bank), bank.manifest["draws"], bank.manifest["chains"]) == (6, 6, 3)
    assert bank.diagnostics.settings["chains"] == 3
    assert not bank.diagnostics.summary
    assert bank.diagnostics.warnings == ["short"]
    assert all(same(bank[i], parts[i // 2][i % 2]) for i in range(6))
    assert all(torch.equal(v, bank[-1].weights[k][0]) for k, v in bank.state(-1).items())  # of the last file
    with pytest.raises(IndexError, match=r"Bank\.state: draw 99 of a bank of 6; draws are 0 to 5"):
        bank.state(99)
    assert same(Bank.open([tmp_path / "chain-02.safetensors"], NETWORK).ensemble(), parts[2])


def test_reading_one_draw_reads_no_other(tmp_path):
    path = drawn(3).save(tmp_path / "bank.safetensors")
    bank = Bank.open(path, NETWORK)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the last draw of the last weight
    path.write_bytes(content)
    bank = Bank.open(path, NETWORK)
    assert same(bank[0], drawn(3)[0])
    with pytest.raises(ValueError, match=r"Bank: draw 2 of .* is damaged"):
        bank[2]


def test_what_is_no_bank(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no \.safetensors files"):
        Bank.open(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        Bank.open(tmp_path / "x.safetensors")
    drawn(2).save(tmp_path / "start.safetensors")
    (tmp_path / "chains-00").mkdir()
    with pytest.raises(ValueError, match=r"checkpoints of a run of inference.hmc, not a bank; call it again"):
        Bank.open(tmp_path)
    with pytest.raises(ValueError, match=r"at least one file"):
        Bank.open([])
    path = drawn(3).save(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"Bank.open: .*a.safetensors is no whole safetensors file"):
        Bank.open(path)
    from safetensors.torch import save_file

    save_file(fc2((4,), 3, width=5).state_dict(), path)
    with pytest.raises(ValueError, match=r"same leading axis .* single state dicts with banks.from_state_dicts"):
        Bank.open(path)


def test_chains_of_different_architectures(tmp_path):
    drawn(2).save(tmp_path / "chain-00.safetensors")
    Ensemble.from_networks(normalised(fc2((4,), 3, width=6), 0.5, 0.25)).save(tmp_path / "chain-01.safetensors")
    with pytest.raises(ValueError, match=r"chain-01.* does not fit chain-00.*: linear1.bias is \(6,\) in the file"):
        Bank.open(tmp_path)
    with pytest.raises(ValueError, match=r"does not fit the network: linear1.bias is \(5,\)"):
        Bank.open(tmp_path / "chain-00.safetensors", normalised(fc2((4,), 3, width=6), 0.5, 0.25))


def test_draws_of_different_posteriors_are_no_bank(tmp_path):
    first, second = drawn(2), drawn(2, seed=1)
    first.save(tmp_path / "a.safetensors")
    second.save(tmp_path / "b.safetensors", data={"name": "mnist"})
    with pytest.raises(ValueError, match=r"b\.safetensors and .* data is {'name': 'mnist'} and None"):
        Bank.open(tmp_path, NETWORK)
    said = Diagnostics("sgd", second.diagnostics.settings)
    Ensemble(second.network, second.weights, said).save(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=r"sampler is 'sgd' and 'hmc'; open them one by one"):
        Bank.open(tmp_path, NETWORK)


def test_the_same_draws_twice_and_chains_of_different_lengths_are_no_bank(tmp_path):
    drawn(10, seed=0, chains=2).save(tmp_path / "a.safetensors")
    drawn(30, seed=1, chains=2).save(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="hold the same draws; copies of a chain would agree"):
        Bank.open([tmp_path / "a.safetensors", tmp_path / "a.safetensors"])
    twice = drawn(5, seed=0, chains=2)
    twice = Ensemble(twice.network, {k: torch.cat([v, v]) for k, v in twice.weights.items()}, twice.diagnostics)
    twice.save(tmp_path / "twice.safetensors")
    with pytest.raises(ValueError, match=r"chain 0 of .* and chain 1 of .* hold the same draws"):
        Bank.open(tmp_path / "twice.safetensors")
    (tmp_path / "twice.safetensors").unlink()
    with pytest.raises(ValueError, match=r"b\.safetensors have 15 draws, those of a\.safetensors 5"):
        Bank.open(tmp_path)


@pytest.mark.parametrize("path", [None, 3, b"bank"])
def test_what_is_no_path(path):
    with pytest.raises(TypeError, match=r"^Bank.open: path must be a path, got .*; pass a str or a pathlib.Path.$"):
        Bank.open(path)
    with pytest.raises(TypeError, match=r"^Bank.open: path\[1\] must be a path, got .*; pass a str or"):
        Bank.open(["bank.safetensors", path])


def test_folders_among_files_and_a_class_for_a_network(tmp_path):
    path = drawn(2).save(tmp_path / "a.safetensors")
    with pytest.raises(IsADirectoryError, match=r"^Bank.open: .* is a folder; open it alone, or list the files in it"):
        Bank.open([path, tmp_path])
    with pytest.raises(TypeError, match=r"^Bank.open: network must be an nn.Module, got the class Linear; make one of"):
        Bank.open(path, torch.nn.Linear)
