"""Sanity checks: sound methods pass, blind ones are caught, sums are those of an independent count."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.integrated_gradients import integrated_gradients
from holdfast.explanations.lrp import lrp
from holdfast.explanations.relevance import Epsilon, Flat, ZPlus
from holdfast.explanations.saliency import saliency
from holdfast.explanations.sanity import class_sensitivity, conservation, parameter_randomisation

cosine = functools.partial(torch.cosine_similarity, dim=-1)


def network(bias=True, width=40):
    return nn.Sequential(
        nn.Linear(20, width, bias=bias),
        nn.ReLU(),
        nn.Linear(width, width, bias=bias),
        nn.ReLU(),
        nn.Linear(width, 5, bias=bias),
    )


def ensemble_of(count=3, **settings):
    torch.manual_seed(0)
    networks = [network(**settings).double() for _ in range(count)]
    for member in networks:
        for module in member[::2]:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return Ensemble.from_networks(networks)


def images():
    return torch.randn(6, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def blind(ensemble, x, target, *, memory):
    """An "explanation" that looks at the image alone."""
    return x.expand(len(ensemble), *x.shape)


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_gradients_follow_the_weights_and_a_blind_map_does_not(order):
    ensemble, x = ensemble_of(), images()
    report = functools.partial(parameter_randomisation, ensemble=ensemble, x=x, similarity=cosine, order=order)
    sound, caught = report(saliency), report(blind)
    assert list(sound) == list(caught) == ["4", "2", "0"]
    for name in sound:
        assert sound[name].shape == (3, 6)
        assert abs(float(sound[name].mean())) < 0.35
        assert torch.allclose(caught[name], torch.ones(3, 6).double())


def test_orders_randomise_what_they_say():
    ensemble, x, seen = ensemble_of(), images(), []

    def watched(members, *args, **settings):
        seen.append(members.weights)
        return blind(members, *args, **settings)

    for order in ("cascading", "independent"):
        parameter_randomisation(watched, ensemble, x, similarity=cosine, order=order)
    changed = [{k.split(".")[0] for k, v in w.items() if not torch.equal(v, ensemble.weights[k])} for w in seen]
    cascading, independent = [{"4"}, {"4", "2"}, {"4", "2", "0"}], [{"4"}, {"2"}, {"0"}]
    assert changed == [set(), *cascading, set(), *independent]
    old, new = ensemble.weights["2.weight"], seen[2]["2.weight"]
    assert not torch.allclose(new[0], new[1])
    torch.testing.assert_close(new.flatten(1).mean(1), old.flatten(1).mean(1), atol=0.02, rtol=0)
    torch.testing.assert_close(new.flatten(1).std(1), old.flatten(1).std(1), rtol=0.1, atol=0)
    again = parameter_randomisation(saliency, ensemble, x, similarity=cosine)
    torch.testing.assert_close(again, parameter_randomisation(saliency, ensemble, x, similarity=cosine), rtol=0, atol=0)
    other = parameter_randomisation(saliency, ensemble, x, similarity=cosine, seed=1)
    assert not torch.allclose(again["0"], other["0"])


def test_the_class_stays_that_of_the_model_before():
    ensemble, x, seen = ensemble_of(), images(), []

    def watched(members, x, target, **settings):
        seen.append(target)
        return saliency(members, x, target, **settings)

    parameter_randomisation(watched, ensemble, x, similarity=cosine, of="margin")
    assert all(torch.equal(t, ensemble.predict(x)) for t in seen)
    assert len(seen) == 4


def test_positive_weights_alone_are_insensitive_to_the_class():
    ensemble, x = ensemble_of(), images()
    check = functools.partial(class_sensitivity, ensemble=ensemble, x=x, similarity=cosine)
    assert torch.allclose(check(blind), torch.ones(3, 6).double())
    assert check(lrp, rule=ZPlus(), start="one").mean() > 0.85
    assert check(lrp, rule=Epsilon(1e-6), start="one").mean() < 0.5
    assert check(saliency).mean() < 0.5
    assert check(integrated_gradients, of="log_predictive").shape == (1, 6)


def test_the_other_class_is_the_second_most_probable_or_the_one_given():
    ensemble, x, seen = ensemble_of(), images(), []

    def watched(members, x, target, **settings):
        seen.append(target)
        return blind(members, x, target, **settings)

    class_sensitivity(watched, ensemble, x, similarity=cosine)
    order = ensemble.log_predictive(x).argsort(-1, descending=True)
    assert torch.equal(seen[0], order[:, 0])
    assert torch.equal(seen[1], order[:, 1])
    class_sensitivity(watched, ensemble, x, 2, 3, similarity=cosine)
    assert seen[2].tolist() == [2] * 6
    assert seen[3].tolist() == [3] * 6


def test_without_biases_relevance_is_conserved_from_layer_to_layer():
    ensemble, x = ensemble_of(bias=False), images()
    report = conservation(ensemble, x, 1, rule=Epsilon(1e-12))
    assert list(report) == ["output", "4", "2", "0", "input"]
    torch.testing.assert_close(report["output"], ensemble.logits(x)[..., 1])
    for name in report:
        torch.testing.assert_close(report[name], report["output"], rtol=1e-8, atol=1e-10)
    blunt = conservation(ensemble, x, 1, rule=Epsilon(0.5))
    assert ((blunt["input"] / blunt["output"]) < 0.95).any()


def test_biases_keep_their_share():
    ensemble, x = ensemble_of(), images()
    report = conservation(ensemble, x, 1, rule=Epsilon(1e-12))
    for s in range(3):
        member = ensemble.module(s).requires_grad_(False)
        h = member[:4](x)
        logit = member[4](h)[:, 1]
        torch.testing.assert_close(report["output"][s], logit)
        torch.testing.assert_close(report["2"][s], logit - member[4].bias[1])
    torch.testing.assert_close(conservation(ensemble, x, 1, rule=Flat())["input"], report["output"], rtol=0.05, atol=0)


def test_images_are_cut_without_a_trace(monkeypatch):
    ensemble, x = ensemble_of(), images()
    whole = conservation(ensemble, x)
    monkeypatch.setattr("holdfast.tiles.TILE", 3 * ensemble.pair_bytes(x) * 2)
    torch.testing.assert_close(conservation(ensemble, x), whole)


def test_modules_used_twice_and_parameters_of_the_whole_network():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.unused = nn.Linear(20, 20, bias=False), nn.Linear(3, 3)
            self.last = nn.Parameter(torch.randn(5, 20))

        def forward(self, x):
            return F.linear(self.inner(self.inner(x)), self.last)

    torch.manual_seed(0)
    odd, x = Odd().double(), images()
    assert list(conservation(odd, x, rule=Epsilon(1e-12))) == ["output", "input"]
    found = parameter_randomisation(saliency, odd, x, similarity=cosine)
    assert list(found) == ["", "inner"]
    assert found[""].mean() < 0.9


def test_the_network_is_left_as_it_was():
    torch.manual_seed(0)
    member, x = network().double().eval(), images()
    before = {k: v.clone() for k, v in member.state_dict().items()}
    state = torch.get_rng_state()
    parameter_randomisation(saliency, member, x, similarity=cosine)
    conservation(member, x)
    class_sensitivity(saliency, member, x, similarity=cosine)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in member.state_dict().items())
    assert not any(m._forward_hooks for m in member.modules())


def test_bad_settings_are_refused():
    ensemble, x = ensemble_of(), images()
    with pytest.raises(ValueError, match="parameter_randomisation: order must be 'cascading' or 'independent'"):
        parameter_randomisation(saliency, ensemble, x, similarity=cosine, order="both")
    with pytest.raises(ValueError, match=r"class_sensitivity: other must differ .* the same class for 6 images"):
        class_sensitivity(saliency, ensemble, x, 1, 1, similarity=cosine)
    with pytest.raises(ValueError, match="conservation: expected a batch of at least one image"):
        conservation(ensemble, x[:0])
