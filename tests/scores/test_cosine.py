"""Cosine similarity against torch in float64, at extreme sizes, and its gradient against finite differences."""

import pytest
import torch

from holdfast.scores import cosine


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_equals_the_formula_at_any_size(size):
    a, b = torch.randn(2, 6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    exact = torch.cosine_similarity(a.double().sum(1).flatten(1), b.double().sum(1).flatten(1), dim=-1)
    torch.testing.assert_close(cosine(a * size, b).double(), exact, rtol=0, atol=1e-6)


def test_keeps_leading_axes_and_separate_channels():
    a, b = torch.randn(2, 2, 3, 4, 3, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = cosine(a, b, channels="separate")
    torch.testing.assert_close(found, torch.cosine_similarity(a.flatten(-3), b.flatten(-3), dim=-1))


def test_gradient():
    a, b = torch.randn(2, 3, 2, 3, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert torch.autograd.gradcheck(cosine, (a.requires_grad_(), b.requires_grad_()))


def test_zero_maps_have_no_direction():
    zero, other = torch.zeros(1, 4, requires_grad=True), torch.ones(1, 4)
    assert (cosine(zero, zero).item(), cosine(zero, other).item()) == (1.0, 0.0)
    (gradient,) = torch.autograd.grad(cosine(zero, other).sum(), zero)
    assert bool(torch.isfinite(gradient).all())
