"""Posterior mean maps and their derivative: the same in blocks of any size, and what finite differences say."""

import pytest
import torch
from trained_prototypes import gradient_map, relevance_map, trained

from holdfast.attacks import target_map
from holdfast.attacks.mean_maps import mean_map_derivative, mean_maps
from holdfast.explanations import AlphaBeta, Gamma, epsilon_gamma_box, lrp
from holdfast.tiles import MEMORY


def other_rule(rule):
    return lambda ensemble, x, y: lrp(ensemble, x, y, rule=rule, create_graph=True)


@pytest.mark.parametrize(
    ("explain", "memory"),
    [
        (gradient_map, MEMORY),
        (gradient_map, 1 << 16),
        (relevance_map, MEMORY),
        (relevance_map, 1 << 16),
        (other_rule(Gamma(0.25)), MEMORY),
        (other_rule(AlphaBeta(2, 1)), MEMORY),
        (other_rule(epsilon_gamma_box(0.0, 1.0)), MEMORY),
    ],
)
def test_gradient_through_the_mean_map_by_finite_differences(explain, memory):
    ensemble, x = trained(draws=3, dtype=torch.float64, smooth=True)
    x = x[:4].clamp(0.05, 0.95)
    y = ensemble.predict(x)
    goal = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    correlation = lambda maps, rows: target_map(goal)(maps, None, None)
    gradient = mean_map_derivative(ensemble, x, y, explain, correlation, memory)
    value = lambda x: correlation(explain(ensemble, x.requires_grad_(), y).mean(0), slice(None)).detach()
    generator = torch.Generator().manual_seed(2)
    for _ in range(5):
        d = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        numeric = (value(x + 1e-7 * d) - value(x - 1e-7 * d)) / 2e-7
        torch.testing.assert_close((gradient * d).flatten(1).sum(1), numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("memory", [MEMORY, 1])
def test_mean_maps_are_those_of_all_draws(memory):
    ensemble, x = trained(draws=3, dtype=torch.float64)
    y = ensemble.predict(x)
    expected = gradient_map(ensemble, x.clone().requires_grad_(), y).detach().mean(0)
    found = mean_maps(ensemble, x, y, gradient_map, memory)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected)
