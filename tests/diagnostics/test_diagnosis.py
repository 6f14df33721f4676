"""A diagnosis of posteriors with known faults; tables against slow rewrites; JSON there and back."""

import itertools
import json
import math

import pytest
import torch

from holdfast import attacks, explanations, scores
from holdfast.budget import Budget
from holdfast.data import Split
from holdfast.diagnostics import Diagnosis, Probe, chains_of, diagnose, distinct_draws, functions, table
from holdfast.diagnostics.chains import random_weights
from holdfast.diagnostics.predictions import agreement_between_chains, predictive_figures
from holdfast.diagnostics.shifts import blurred, noisy, rotated, shifts_for
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.networks import fc2

NETWORK = fc2((1, 5, 5), 3, width=6)
DATA = Split(torch.rand(30, 1, 5, 5, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3)


def posterior(chains, draws, spread=0.3, apart=0.0, seed=0, method="hmc", repeat=1):
    """Draws around the network, chains around places of their own; every draw `repeat` times, as after refusals."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in NETWORK.state_dict().items():
        centre = value + apart * torch.randn(chains or 1, 1, *value.shape, generator=generator)
        noise = torch.randn(chains or 1, draws // repeat, *value.shape, generator=generator)
        weights[name] = (centre + spread * noise).repeat_interleave(repeat, 1).flatten(0, 1)
    settings = {"seed": seed} | ({"chains": chains} if chains else {})
    summary = {"acceptance": 0.75, "e_bfmi": [0.9, 1.1, None], "step_size": [0.1, 0.3]}
    said = Diagnostics(method, settings, summary if chains else {})
    return Ensemble(Ensemble.from_networks(NETWORK).network, weights, said)


@pytest.fixture(scope="module")
def found():
    ensembles = {
        "mixed": posterior(3, 60),
        "apart": posterior(3, 20, apart=1.0),
        "variational": posterior(None, 20, method="mean_field"),
        "one": Ensemble.from_networks(NETWORK),
    }
    return diagnose(ensembles, DATA, reference="mixed", points=6, most=40), ensembles


def test_verdicts(found):
    assert found[0].verdicts == {
        "mixed": "mixed in function space",
        "apart": "ensemble of 3 local chains",
        "variational": "independent draws",
        "one": "one network",
    }
    assert list(found[0].notes) == [
        "apart: its chains have not met, so its Monte Carlo errors may be larger than stated."
    ]


def test_the_same_tables_for_every_method(found):
    diagnosis, ensembles = found
    names = list(ensembles)
    assert list(diagnosis.samplers.ensemble) == names
    assert diagnosis.samplers.acceptance.tolist()[:2] == [0.75, 0.75]
    assert diagnosis.samplers.e_bfmi[0] == 0.9  # the worst chain
    assert diagnosis.samplers.step_size[0] == pytest.approx(0.2)
    assert diagnosis.samplers.distinct.tolist() == [180, 60, 20, 1]
    families = [
        "true_class_log_probability",
        "class_probability",
        "relevance",
        "top_k_overlap",
        "robustness",
        "weights",
    ]
    assert list(diagnosis.functions.functions_of) == families * 4
    assert list(diagnosis.predictions["shift"]) == ["clean", "rotated", "noisy", "blurred"] * 4
    assert list(diagnosis.table.ensemble) == names
    assert list(diagnosis.table.verdict) == list(diagnosis.verdicts.values())
    relevance = diagnosis.functions[diagnosis.functions.functions_of == "relevance"]
    assert (relevance.functions == 6 * 25).all()
    assert relevance.examined.tolist() == [40, 40, 40, 0]
    reference = diagnosis.agreement[diagnosis.agreement["with"] == "mixed"]
    assert list(reference.ensemble) == ["apart", "variational", "one"]


def test_differences_below_two_errors_are_not_resolved(found):
    rows = found[0].differences
    for row in rows.to_dict("records"):
        first = rows[(rows.ensemble == "mixed") & (rows.quantity == row["quantity"])].iloc[0]
        error = math.hypot(row["mcse"], first["mcse"])
        far = row["ensemble"] != "mixed" and abs(row["value"] - first["value"]) >= 2 * error
        assert row["difference"] == pytest.approx(row["value"] - first["value"])
        assert bool(row["resolved"]) == far
    assert rows.resolved.any()
    assert not rows.resolved.all()
    same = diagnose({"a": posterior(2, 40), "b": posterior(2, 40, seed=1)}, DATA, points=3, images=9, most=5)
    assert not same.differences.resolved.any()


def test_json_there_and_back(found):
    import pandas

    text = json.dumps(found[0].as_json(), allow_nan=False)
    again = Diagnosis.from_json(json.loads(text))
    for name in ("samplers", "functions", "predictions", "agreement", "differences", "table"):
        pandas.testing.assert_frame_equal(getattr(again, name), getattr(found[0], name), check_dtype=False)
    assert again.verdicts == found[0].verdicts
    assert again.curves["apart"] == found[0].curves["apart"]
    assert json.dumps(again.as_json()) == text


def test_infinite_rhat_survives_json():
    still = diagnose({"still": posterior(2, 8, apart=1.0, repeat=8)}, DATA, points=3, images=9, most=5)
    assert still.samplers.distinct[0] == 2
    row = still.functions[still.functions.functions_of == "class_probability"].iloc[0]
    assert row.rhat_50 == math.inf
    again = Diagnosis.from_json(json.loads(json.dumps(still.as_json(), allow_nan=False)))
    assert again.functions.rhat_50[1] == math.inf
    assert again.curves["still"]["class_probability"][50] == math.inf


def test_functions_against_a_loop_over_the_draws():
    ensemble, probe = posterior(None, 4), Probe(Budget("linf", 0.2), steps=3, k=30, seed=5)
    x, y = DATA.images[:4], DATA.labels[:4]
    values = functions(ensemble, x, y, probe)
    attacked = attacks.pgd(ensemble, x, y, budget=probe.budget, steps=3, seed=5).images[0]
    target = ensemble.predict(x)
    maps = [[explanations.lrp(ensemble.module(s), i, target)[0] for s in range(4)] for i in (x, attacked)]
    mean = torch.stack(maps[0]).mean(0)
    for s in range(4):
        p = ensemble.module(s)(x).double().softmax(-1).detach()
        torch.testing.assert_close(values["class_probability"][s], p, rtol=1e-5, atol=1e-7)
        true = p[range(4), y].log()
        torch.testing.assert_close(values["true_class_log_probability"][s], true, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(values["relevance"][s], maps[0][s].flatten(1), rtol=1e-4, atol=1e-6)
        assert torch.equal(values["robustness"][s], scores.k_lrp(maps[0][s], maps[1][s], k=30, seed=5))
        assert torch.equal(values["top_k_overlap"][s], scores.k_lrp(maps[0][s], mean, k=30, seed=5))


def test_predictive_figures_and_their_errors():
    """The delta method against the spread over many posteriors of few draws."""
    x, y = DATA.images, DATA.labels
    runs = [predictive_figures(posterior(None, 50, seed=s).logits(x), y, None) for s in range(60)]
    for name in ("nll", "brier", "entropy"):
        values = torch.tensor([run[name] for run in runs])
        error = torch.tensor([run[f"{name}_mcse"] for run in runs]).mean()
        assert 0.75 < float(values.std() / error) < 1.35
    logits = posterior(None, 5).logits(x)
    p = logits.double().softmax(-1).mean(0)
    found = predictive_figures(logits, y, None)
    assert found["nll"] == pytest.approx(-sum(math.log(p[i, y[i]]) for i in range(30)) / 30)
    assert found["accuracy"] == sum(int(p[i].argmax()) == int(y[i]) for i in range(30)) / 30


def test_agreement_between_chains_is_that_of_all_pairs():
    logits = posterior(3, 4, apart=1.0).logits(DATA.images)
    means = logits.double().softmax(-1).view(3, 4, 30, 3).mean(1)
    found = agreement_between_chains(logits, 3)
    pairs = list(itertools.combinations(means, 2))
    apart = [float((a - b).abs().sum(-1).mean()) / 2 for a, b in pairs]
    alike = [float((a.argmax(-1) == b.argmax(-1)).double().mean()) for a, b in pairs]
    assert found["total_variation"] == pytest.approx(sum(apart) / 3)
    assert found["total_variation_worst"] == pytest.approx(max(apart))
    assert found["agreement"] == pytest.approx(sum(alike) / 3)
    assert found["agreement_worst"] == pytest.approx(min(alike))
    assert all(math.isnan(v) for v in agreement_between_chains(logits, None).values())


def test_shifts():
    x = torch.rand(3, 2, 7, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(rotated(x, 180.0), x.flip(-1, -2), atol=1e-5, rtol=0)
    torch.testing.assert_close(rotated(x[..., :7], 90.0), x[..., :7].rot90(1, (-2, -1)), atol=1e-5, rtol=0)
    impulse = torch.zeros(1, 1, 15, 15)
    impulse[0, 0, 7, 7] = 1
    spread = blurred(impulse, 1.0)[0, 0]
    assert float(spread.sum()) == pytest.approx(1.0)
    assert float(spread[7, 8] / spread[7, 7]) == pytest.approx(math.exp(-0.5), rel=1e-5)
    assert float(spread[9, 8] / spread[7, 7]) == pytest.approx(math.exp(-2.5), rel=1e-5)
    changed = noisy(torch.full((1, 1, 200, 200), 0.5), 0.1)
    assert float(changed.std()) == pytest.approx(0.1, rel=0.02)
    assert torch.equal(noisy(x), noisy(x))
    assert list(shifts_for(torch.rand(2, 5))) == ["noisy"]
    with pytest.raises(ValueError, match=r"diagnostics.rotated: expected images \[B, C, H, W\]"):
        rotated(torch.rand(2, 5))


def test_chains_and_draws():
    assert chains_of(posterior(3, 4)) == 3
    assert chains_of(posterior(None, 4)) is None
    assert chains_of(Ensemble.from_networks(NETWORK)) is None
    assert distinct_draws(posterior(2, 6, repeat=3)) == 4
    with pytest.raises(ValueError, match=r"11 draws cannot be shared evenly by 3 chains"):
        chains_of(posterior(3, 4)[:11])
    flat = torch.cat([v.flatten(1) for v in posterior(2, 3).weights.values()], 1)
    assert torch.equal(random_weights(posterior(2, 3), 10**6, 0), flat)
    few = random_weights(posterior(2, 3), 20, 0)
    assert few.shape == (6, 20)
    assert all(any(torch.equal(column, other) for other in flat.T) for column in few.T)
    assert len({tuple(column.tolist()) for column in few.T}) == 20


def test_notes_and_errors():
    short = diagnose({"a": posterior(2, 3), "b": posterior(1, 8)}, DATA, points=3, images=9, most=5)
    assert short.notes[0] == "a: 3 draws per chain are too few for R-hat, ESS and MCSE."
    assert short.notes[1] == "b: one chain alone cannot show whether it mixes; run several."
    twice = posterior(None, 8, repeat=2)
    assert diagnose({"c": twice}, DATA, points=3, images=9, most=5).notes == ["c: only 4 of 8 draws differ."]
    with pytest.raises(ValueError, match="at least one ensemble by name"):
        diagnose({}, DATA)
    with pytest.raises(ValueError, match=r"reference 'x' is not among the ensembles \['a'\]"):
        diagnose({"a": twice}, DATA, reference="x")
    copied = posterior(2, 6)
    for values in copied.weights.values():
        values[9] = values[2]  # one draw of the second chain
    with pytest.raises(ValueError, match=r"diagnose: d: draw 2 of chain 0 is draw 3 of chain 1; copies of a chain"):
        diagnose({"d": copied}, DATA, points=3)
    broken = posterior(2, 4)
    broken.weights["output.bias"][5] = torch.nan
    words = (
        r"^diagnostics.diagnose: ensembles\['b'\] has NaN or infinite weights: in output.bias, 1 of its 8 draws hold "
        "some, the first of them draw 5; a draw that is not finite belongs to no posterior: find out where it came from"
    )
    with pytest.raises(ValueError, match=words):
        diagnose({"a": twice, "b": broken}, DATA, points=3)
    broken.weights["output.bias"][5] = math.inf
    with pytest.raises(ValueError, match=r"^diagnostics.diagnose: reference has NaN or infinite weights: in output.b"):
        diagnose({"a": twice}, DATA, points=3, reference=broken)
    with pytest.raises(ValueError, match="the budget must have one radius"):
        Probe(Budget("linf", (0.1, 0.2)))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"ensembles": {"e": NETWORK}},
            TypeError,
            r"ensembles\['e'\] must be an Ensemble, got .*; use Ensemble.from_net",
        ),
        (
            {"ensembles": [posterior(None, 4)]},
            TypeError,
            r"ensembles must be a dict such as {'hmc': ensemble}, got list",
        ),
        ({"reference": 3}, TypeError, "reference must be an Ensemble or a name, got int"),
        ({"probe": {}}, TypeError, r"probe must be a Probe\(...\), got {}"),
        ({"points": "4"}, TypeError, "points must be a whole number, got '4'"),
        ({"images": 0}, ValueError, r"images must lie in \[1, "),
        ({"most": 1.5}, TypeError, "most must be a whole number, got 1.5"),
        ({"seed": "0"}, TypeError, "seed must be a whole number, got '0'"),
        ({"data": DATA.images}, TypeError, "data must be a Split such as dataset.test, got Tensor"),
        ({"data": Split(DATA.images, DATA.labels + 1)}, ValueError, r"labels must lie in 0..2 for 3 classes"),
        (
            {"reference": Ensemble.from_networks(fc2((1, 5, 5), 4, width=6))},
            ValueError,
            r"the same classes, ensembles\['e'\] has 3, reference has 4; diagnose them one by one",
        ),
        (
            {"ensembles": {"e": posterior(None, 4), "f": Ensemble.from_networks(fc2((1, 5, 5), 4, width=6))}},
            ValueError,
            r"ensembles\['e'\] has 3, ensembles\['f'\] has 4",
        ),
    ],
)
def test_arguments_of_another_kind_are_one_clear_error(change, error, words):
    arguments = {"ensembles": {"e": posterior(None, 4)}, "data": DATA, **change}
    with pytest.raises(error, match=f"diagnostics.diagnose: .*{words}"):
        diagnose(arguments.pop("ensembles"), arguments.pop("data"), **arguments)


def test_what_is_the_same_for_all_draws():
    still, free = posterior(1, 12, repeat=12), posterior(1, 12)
    found = diagnose({"free": free, "still": still}, DATA, points=3, images=9, most=5)
    rows = found.differences[found.differences.ensemble == "still"]
    assert rows.mcse.isna().all()  # one network drawn twelve times: nothing is known of the errors
    assert not rows.resolved.any()
    assert any("still: log probability of the true class, class probabilities" in note for note in found.notes)
    free.weights["output.weight"].zero_()  # draws that differ, with predictions that do not
    free.weights["output.bias"].copy_(free.weights["output.bias"][:1].clone().expand(12, -1))
    found = diagnose({"free": posterior(1, 12), "same": free}, DATA, points=3, images=9, most=5)
    nll = found.differences[(found.differences.ensemble == "same") & (found.differences.quantity == "nll")].iloc[0]
    assert (nll["mcse"], bool(nll["resolved"])) == (0.0, abs(nll["difference"]) > 2 * nll["difference_mcse"])


def test_data_without_pixels():
    network = fc2((2,), 2, width=8)
    ensemble = Ensemble.from_networks([fc2((2,), 2, width=8, seed=s) for s in range(5)])
    data = Split(torch.rand(20, 2), torch.arange(20) % 2)
    found = table({"a": ensemble, "b": Ensemble.from_networks(network)}, data, probe=Probe(k=50), points=4)
    assert list(found.verdict) == ["independent draws", "one network"]
