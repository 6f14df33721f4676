"""Every score is held to the facts that it declares: range, value of equal inputs, direction, derivative."""

import functools

import pytest
import torch

from holdfast import scores
from holdfast.scores import Facts

SETTINGS = {"k_lrp": {"k": 30}}
ALL = {name: getattr(scores, name) for name in scores.__all__ if hasattr(getattr(scores, name), "facts")}
MAPS = [name for name, score in ALL.items() if score.facts.compares == "maps"]


def inputs(facts, seed, dtype=torch.float32):
    raw = torch.randn(40, 1, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return raw if facts.compares == "maps" else (4 * raw.flatten(1)[:, :10]).log_softmax(-1)


def bound(name):
    return functools.partial(ALL[name], **SETTINGS.get(name, {}))


def test_every_score_has_facts():
    expected = {"cosine", "k_lrp", "label_preserved", "softmax_robustness", "spearman", "total_variation"}
    assert set(ALL) == expected
    assert all(isinstance(score.facts, Facts) for score in ALL.values())


@pytest.mark.parametrize("name", ALL)
def test_range_and_value_of_equal_inputs(name):
    facts, score = ALL[name].facts, bound(name)
    a, b = inputs(facts, 0), inputs(facts, 1)
    values = score(a, b).double()
    assert values.shape == (40,)
    assert bool(((values >= facts.low) & (values <= facts.high)).all())
    assert float(values.std()) > 0
    best = facts.high if facts.better == "higher" else facts.low
    torch.testing.assert_close(score(a, a).double(), torch.full((40,), best, dtype=torch.float64))


@pytest.mark.parametrize("name", ALL)
def test_direction(name):
    """A small change scores better than a large one, on average over the images."""
    facts, score = ALL[name].facts, bound(name)
    a, b = inputs(facts, 0), inputs(facts, 1)
    towards = lambda share: (a + share * (b - a)) if facts.compares == "maps" else (a + share * (b - a)).log_softmax(-1)
    little, much = (score(a, towards(share)).double().mean().item() for share in (0.1, 0.9))
    assert (little > much) == (facts.better == "higher")


@pytest.mark.parametrize("name", ALL)
def test_derivative(name):
    """Autograd gives the derivative of a score that says so; the others give no graph at all."""
    facts, score = ALL[name].facts, bound(name)
    a, b = inputs(facts, 0, torch.float64)[:3], inputs(facts, 1, torch.float64)[:3]
    a.requires_grad_()
    if not facts.differentiable:
        assert not score(a, b).requires_grad
        return
    direction = inputs(facts, 2, torch.float64)[:3] if facts.compares == "maps" else torch.zeros_like(b)
    if facts.compares == "predictions":  # stay where probabilities sum to one, to first order
        direction = torch.randn(3, 10, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        direction -= (direction * a.detach().exp()).sum(-1, keepdim=True)
    (gradient,) = torch.autograd.grad(score(a, b).sum(), a)
    with torch.no_grad():
        step = 1e-6
        difference = (score(a + step * direction, b) - score(a - step * direction, b)).sum() / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-8)
