"""Smoothing: every way to write a ReLU, and what cannot be smoothed."""

import pytest
import torch
from trained_prototypes import gradient_map, relevance_map, trained

from holdfast.attacks import attack_explanation, smoothed, top_k
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble


class Functional(torch.nn.Module):
    """The layers of `trained()`, their ReLUs called as functions, or as one module under two names."""

    def __init__(self, kind):
        super().__init__()
        self.linears = torch.nn.ModuleList([torch.nn.Linear(64, 48), torch.nn.Linear(48, 48), torch.nn.Linear(48, 10)])
        self.kind, self.first = kind, torch.nn.ReLU()
        self.second = self.first

    def forward(self, x):
        first, second = {
            "function": (torch.relu, torch.nn.functional.relu),
            "method": (torch.Tensor.relu, lambda z: torch.nn.functional.leaky_relu(z, 0.0)),
            "mixed": (self.first, torch.relu),
            "shared": (self.first, self.second),
            "in place": (self.first, torch.relu_),
        }[self.kind]
        return self.linears[2](second(self.linears[1](first(self.linears[0](x.flatten(1))))))


@pytest.mark.parametrize("kind", ["function", "method", "mixed", "shared"])
def test_every_way_to_write_a_relu_is_smoothed(kind):
    ensemble, x = trained(draws=2)
    weights = dict(zip(Functional(kind).state_dict(), ensemble.weights.values(), strict=True))
    other = Ensemble(Functional(kind).eval(), weights)
    y, expected = ensemble.predict(x), smoothed(ensemble, 3.0)
    torch.testing.assert_close(other.logits(x), ensemble.logits(x))
    torch.testing.assert_close(smoothed(other, 3.0).logits(x), expected.logits(x))
    for explain in (relevance_map, gradient_map):
        maps = [explain(e, x.clone().requires_grad_(), y) for e in (smoothed(other, 3.0), expected)]
        torch.testing.assert_close(*maps)
    assert set(smoothed(other, 3.0).network.state_dict()) == set(other.weights)


def test_what_cannot_be_smoothed_says_so_before_any_work():
    x, asked = torch.rand(4, 64), []
    given = dict(explain=lambda *given: asked.append(1), objective=top_k(20), budget=Budget("linf", 0.1))
    for network, message in (
        (Functional("in place"), "a ReLU as a function that changes its input in place; leave inplace out"),
        (torch.nn.Linear(64, 10), "found no ReLU or LeakyReLU to smooth; attack without smoothing"),
    ):
        ensemble = Ensemble.from_networks(network)
        with pytest.raises(ValueError, match=f"smoothed: .*{message}"):
            attack_explanation(ensemble, x, ensemble.predict(x), **given)
    assert not asked


def test_smoothed():
    ensemble, x = trained()
    sharp = smoothed(ensemble, 1e4)
    torch.testing.assert_close(sharp.logits(x), ensemble.logits(x), rtol=0, atol=1e-2)
    assert not torch.allclose(smoothed(ensemble, 1.0).logits(x), ensemble.logits(x), atol=1e-2)
    assert sharp.weights is ensemble.weights
    assert "ReLU" in repr(ensemble.network)
    leaky = Ensemble.from_networks(torch.nn.Sequential(torch.nn.LeakyReLU(0.1), torch.nn.Linear(3, 2)))
    z = torch.tensor([[-2.0, 0.0, 3.0]])
    torch.testing.assert_close(smoothed(leaky, 1e4).network[0](z), torch.tensor([[-0.2, 0.0, 3.0]]), rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match=r"smoothed: beta must lie in \(0"):
        smoothed(ensemble, 0)
