"""What is explained: models wrapped, classes settled, numbers made of logits, bad input refused."""

import math

import pytest
import torch
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.target import as_ensemble, check_of, explained, settle


def networks(count=3, classes=4):
    torch.manual_seed(0)
    return [nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, classes)) for _ in range(count)]


def test_a_network_is_an_ensemble_of_one_with_copies_of_its_weights():
    network = networks(1)[0].train()
    ensemble = as_ensemble("t", network)
    assert len(ensemble) == 1
    assert network.training
    for name, parameter in network.named_parameters():
        assert torch.equal(ensemble.weights[name][0], parameter)
        assert ensemble.weights[name].data_ptr() != parameter.data_ptr()
        assert not ensemble.weights[name].requires_grad
    assert all(v.requires_grad for v in as_ensemble("t", network, differentiable=True).weights.values())
    assert as_ensemble("t", ensemble) is ensemble


def test_without_a_target_the_class_is_that_of_the_model_average():
    members, x = networks(), 9 * torch.randn(40, 2, 3)
    with torch.no_grad():
        members[0][3].weight *= 10  # one loud draw, which the mean of the logits would follow
    ensemble = Ensemble.from_networks(members)
    probability = torch.stack([ensemble.module(s)(x).softmax(-1) for s in range(3)]).mean(0)
    assert (probability.argmax(-1) != ensemble.logits(x).mean(0).argmax(-1)).any()
    assert torch.equal(settle("t", ensemble, x)[1], probability.argmax(-1))


def test_targets_are_one_class_or_one_per_image():
    ensemble, x = Ensemble.from_networks(networks()), torch.rand(3, 2, 3)
    assert settle("t", ensemble, x, 2)[1].tolist() == [2, 2, 2]
    found = settle("t", ensemble, x, torch.tensor([0, 3, 1], dtype=torch.int32))[1]
    assert found.tolist() == [0, 3, 1]
    assert found.dtype == torch.int64


def test_numbers_against_their_formulas():
    logits, target = torch.randn(3, 5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    got = {of: explained("t", of, logits, target) for of in ("score", "margin", "log_probability", "log_predictive")}
    for b, t in enumerate(target.tolist()):
        mean = 0.0
        for s in range(3):
            row = logits[s, b].tolist()
            p = math.exp(row[t]) / sum(map(math.exp, row))
            mean += p / 3
            assert got["score"][s, b] == row[t]
            assert math.isclose(got["margin"][s, b], row[t] - max(row[:t] + row[t + 1 :]))
            assert math.isclose(got["log_probability"][s, b], math.log(p))
        assert math.isclose(got["log_predictive"][0, b], math.log(mean))
    assert got["log_predictive"].shape == (1, 5)
    own = explained("t", lambda logits, target: logits.square().sum(-1), logits, target)
    assert torch.equal(own, logits.square().sum(-1))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((nn.Linear(3, 2), torch.rand(3)), ValueError, "lrp: expected a batch of at least one image"),
        ((nn.Linear(3, 2), torch.rand(0, 3)), ValueError, "at least one image"),
        ((nn.Linear(3, 2), torch.full((1, 3), torch.nan)), ValueError, "3 NaN or infinite"),
        ((nn.Linear(3, 2), torch.ones(1, 3, dtype=torch.uint8)), TypeError, "must be floating point"),
        ((nn.Linear(3, 2), torch.rand(1, 3).double()), TypeError, r"use x.to\(ensemble.device, ensemble.dtype\)"),
        ((nn.Linear(3, 2), torch.rand(2, 3), 2), ValueError, r"labels must lie in 0..1 for 2 classes"),
        ((nn.Linear(3, 2), torch.rand(2, 3), -1), ValueError, r"labels must lie in 0..1"),
        ((nn.Linear(3, 2), torch.rand(2, 3), True), TypeError, "labels must be a tensor of integers"),
        ((nn.Linear(3, 2), torch.rand(2, 3), 1.0), TypeError, "labels must be a tensor of integers"),
        ((nn.Linear(3, 2), torch.rand(2, 3), torch.tensor([1])), ValueError, "expected 2 labels"),
        ((nn.Linear(3, 1), torch.rand(2, 3)), ValueError, "logits .* of at least two classes"),
        ((nn.Flatten(0), torch.rand(2, 3)), ValueError, "no weights"),
        ((abs, torch.rand(2, 3)), TypeError, "lrp: expected an Ensemble or a torch.nn.Module"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, error, words):
    with pytest.raises(error, match=words):
        settle("lrp", *arguments)


def test_an_unknown_number_is_refused():
    with pytest.raises(ValueError, match=r"saliency: of must be one of 'score', .* got 'logit'"):
        check_of("saliency", "logit")
    with pytest.raises(ValueError, match=r"must give \(2, 3\) numbers, got \(3,\)"):
        explained("t", lambda logits, target: logits.sum((0, 2)), torch.rand(2, 3, 4), torch.zeros(3).long())
