"""Some of a sampler's draws are chains only where they are whole chains; what is said of them is of them."""

import math

import pytest
import torch

from holdfast import bank_file
from holdfast.banks import Bank
from holdfast.data import Split
from holdfast.diagnostics import chains_of, diagnose, to_arviz
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.networks import fc2

NETWORK = fc2((1, 5, 5), 3, width=6)
DATA = Split(torch.rand(12, 1, 5, 5, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3)


def run(chains=2, draws=10, method="hmc"):
    """Draws of chains, or independent draws, each with its number in the history."""
    count = (chains or 1) * draws
    noise = torch.Generator().manual_seed(0)
    weights = {k: v + 0.3 * torch.randn(count, *v.shape, generator=noise) for k, v in NETWORK.state_dict().items()}
    settings = {"seed": 0, "draws": draws} | ({"chains": chains} if chains else {})
    history = {"nll": [float(i) for i in range(count)], "loss": [3.0, 2.0], "energy_per_image": [0.5] * count}
    return Ensemble(
        Ensemble.from_networks(NETWORK).network,
        weights,
        Diagnostics(method, settings, {"acceptance": 0.7}, history, ["Chain 0 drifts."]),
    )


@pytest.mark.parametrize(
    ("choice", "chains"),
    [
        (slice(None, 8), 1), (slice(None, 10), 1), (slice(10, None), 1), (slice(None, None, 2), 2), (0, 1), (-1, 1),
        ([0, 1, 10, 11], 2), ([0, 10], 2), (torch.tensor([3, 13]), 2),
        (slice(None, 15), None), ([10, 0], None), ([1, 0, 10, 11], None), ([0, 0, 10, 11], None), (slice(5, 18), None),
    ],
)  # fmt: skip
def test_a_choice_is_of_the_chains_it_holds_whole(tmp_path, choice, chains):
    for three in (False, True):  # also through a slice of a slice: chains 0 and 1 of three
        chosen = run(3)[:20][choice] if three else run()[choice]
        assert chosen.diagnostics.settings.get("chains") == chains
        path = chosen.save(tmp_path / "some.safetensors")
        manifest = bank_file.header_of("test", path, bank_file.open_file("test", path))[0]
        assert manifest["chains"] == chains
        assert Ensemble.load(path, NETWORK).diagnostics == chosen.diagnostics
        if chains is None:
            with pytest.raises(ValueError, match=r"diagnostics: .*draws .*; take equally many draws of each chain"):
                chains_of(chosen)
        else:
            assert chains_of(chosen) == chains


def test_a_choice_has_its_own_histories_and_no_figures_of_the_whole_run():
    whole = run()
    assert whole[:].diagnostics == whole[list(range(20))].diagnostics == whole.diagnostics
    some = whole[[2, 12]][1:].diagnostics
    assert some.history == {"nll": [12.0]}
    assert some.summary == {}
    assert some.warnings == ["Chain 0 drifts."]
    assert some.settings["chosen"] == {"draws": [12], "of": 20, "chains": 2}
    assert whole.diagnostics.summary == {"acceptance": 0.7}


def test_draws_that_are_independent_stay_so():
    some = run(None, 20, "mean_field")[:8]
    assert chains_of(some) is None
    assert some.diagnostics.summary == {"acceptance": 0.7}  # of the fit that they are draws of
    assert some.diagnostics.history["nll"] == [float(i) for i in range(20)]  # by epoch, as far as is known


def test_one_chain_is_no_evidence_between_chains():
    found = diagnose({"part": run()[:8]}, DATA, points=3, images=9, most=5)
    assert found.verdicts == {"part": "ensemble of 1 local chain"}
    assert found.samplers.chains[0] == 1
    assert math.isnan(found.samplers.acceptance[0])
    assert found.agreement.agreement.isna().all()
    assert "part: one chain alone cannot show whether it mixes; run several." in found.notes
    one = diagnose({"one": run()[0]}, DATA, points=3, images=9, most=5)
    assert "one: 1 draws per chain are too few for R-hat, ESS and MCSE." in one.notes
    both = diagnose({"thin": run()[::2]}, DATA, points=3, images=9, most=5)
    assert both.samplers.chains[0] == 2
    with pytest.raises(ValueError, match=r"15 draws cannot be shared evenly by 2 chains: they are 10 of chain 0, 5 of"):
        diagnose({"uneven": run()[:15]}, DATA, points=3)
    with pytest.raises(ValueError, match=r"2 draws are not in the order in which their chains drew them"):
        diagnose({"turned": run()[[10, 0]]}, DATA, points=3)


def test_a_bank_chooses_as_an_ensemble_does(tmp_path):
    whole = run()
    bank = Bank.open(whole.save(tmp_path / "bank.safetensors"), NETWORK)
    for choice in (slice(None, 8), [0, 10], slice(3, 17)):
        assert bank.ensemble(choice).diagnostics == whole[choice].diagnostics
    assert bank[12].diagnostics == whole[12].diagnostics
    assert bank.ensemble().diagnostics == whole.diagnostics


def test_chains_saved_apart_are_a_bank_and_parts_of_chains_are_not(tmp_path):
    whole = run()
    files = [whole[cut].save(tmp_path / name) for cut, name in ((slice(10), "a"), (slice(10, None), "b"))]
    together = Bank.open(files, NETWORK).ensemble()
    assert together.diagnostics.settings == whole.diagnostics.settings
    assert together[:10].diagnostics.settings["chosen"] == {"draws": list(range(10)), "of": 20, "chains": 2}
    assert Bank.open(whole[:15].save(tmp_path / "c"), NETWORK).manifest["chains"] is None
    whole[15:].save(tmp_path / "d")
    with pytest.raises(ValueError, match=r"c holds some draws of a run, not equally many of each chain .*; open it"):
        Bank.open([tmp_path / "c", tmp_path / "d"])


def test_an_ensemble_put_together_by_hand_makes_no_claim():
    part = run()[:10]
    doubled = Ensemble(part.network, {k: torch.cat([v, v + 1]) for k, v in part.weights.items()}, part.diagnostics)
    with pytest.raises(ValueError, match="it is not known of which chains these 5 draws are"):
        chains_of(doubled[:5])


def test_arviz_has_one_chain_of_a_chain():
    pytest.importorskip("xarray")
    tree = to_arviz(run()[:8], DATA[:2])
    assert tree["sample_stats"]["nll"].shape == (1, 8)


@pytest.mark.parametrize(
    ("choice", "error", "words"),
    [
        (20, IndexError, "Ensemble: there are 20 draws, 0 to 19, and no draw 20"),
        ([0, -21], IndexError, "and no draw -21"),
        (slice(8, 8), ValueError, r"slice\(8, 8, None\) names none of the 20 draws"),
        ("all", TypeError, "a whole number, a slice or a list of whole numbers, got 'all'"),
        ([True, False], TypeError, r"got \[True, False\]"),
    ],
)
def test_what_names_no_draws(choice, error, words):
    with pytest.raises(error, match=words):
        run()[choice]


def test_a_choice_that_a_file_cannot_mean_is_refused(tmp_path):
    some = run()[:8]
    some.diagnostics.settings["chosen"]["draws"][0] = 99
    path = some.save(tmp_path / "some.safetensors")
    with pytest.raises(ValueError, match=r"manifest of .* cannot be read .'chosen' makes no sense"):
        Ensemble.load(path, NETWORK)
