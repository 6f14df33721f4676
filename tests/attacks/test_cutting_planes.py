"""Cutting planes: the convex problem against SciPy, and edges where steps along one gradient creep."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from holdfast.attacks import exact_boundary, nearest_boundary
from holdfast.attacks.cutting_planes import PLANES, nearest_in_half_spaces
from holdfast.ensemble import Ensemble


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_point_in_half_spaces_is_that_of_scipy(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(3, 7, generator=generator, dtype=torch.float64)
    planes = torch.nn.functional.normalize(torch.randn(3, PLANES, 7, generator=generator, dtype=torch.float64), dim=-1)
    inside = torch.rand(3, 7, generator=generator, dtype=torch.float64)  # some point satisfies all of them
    ends = torch.einsum("bkd,bd->bk", planes, inside) - 0.02
    low, high = torch.zeros(7, dtype=torch.float64), torch.ones(7, dtype=torch.float64)
    found = nearest_in_half_spaces(x, planes, ends, low, high)
    for row in range(3):
        p, e, start = planes[row].numpy(), ends[row].numpy(), x[row].numpy()
        theirs = minimize(
            lambda z, start=start: 0.5 * ((z - start) ** 2).sum(), inside[row].numpy(),
            jac=lambda z, start=start: z - start, bounds=[(0, 1)] * 7, method="SLSQP", tol=1e-12,
            constraints={"type": "ineq", "fun": lambda z, p=p, e=e: p @ z - e, "jac": lambda z, p=p: p},
        )  # fmt: skip
        np.testing.assert_allclose(found[row].numpy(), theirs.x, atol=1e-5)


def test_float32_half_spaces_given_twice_or_on_a_corner_do_not_break_the_solver():
    plane = torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -1.0]), dim=0)
    planes, ends = plane.expand(1, PLANES, 3).clone(), torch.full((1, PLANES), 0.3)
    low, high = torch.zeros(3), torch.ones(3)
    x = torch.tensor([[0.1, 0.1, 0.4]])
    found = nearest_in_half_spaces(x, planes, ends, low, high)
    torch.testing.assert_close(found, x + (0.3 - x @ plane)[:, None] * plane, atol=1e-5, rtol=0)
    beyond = nearest_in_half_spaces(x, planes, torch.full((1, PLANES), 9.0), low, high)  # no pixel reaches it
    torch.testing.assert_close(beyond, torch.tensor([[1.0, 1.0, 0.0]]))


def test_where_the_pixel_range_binds_and_pieces_meet_the_distance_is_exact():
    # class 1 where min(x0 + x1, x0 + x2) > 1.9: from (.6, .8, .4) the edge x1 = x2 of the two pieces, cut by x0 <= 1
    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    network[0].weight.data = torch.tensor([[1.0, 1, 0], [0, 1, -1], [0, 0, 0]], dtype=torch.float64)
    network[0].bias.data = torch.zeros(3, dtype=torch.float64)
    network[2].weight.data = torch.tensor([[0.0, 0, 0], [1, -1, 0]], dtype=torch.float64)  # x0 + x1 - relu(x1 - x2)
    network[2].bias.data = torch.tensor([0, -1.9], dtype=torch.float64)
    x = torch.tensor([[0.6, 0.8, 0.4]], dtype=torch.float64)
    # nearest with x0 <= 1, x0 + x1 >= 1.9, x0 + x2 >= 1.9: x0 = 1, x1 = x2 = 0.9
    found = nearest_boundary(Ensemble.from_networks(network), x, tolerance=1e-8)
    assert found.distance.item() == pytest.approx((0.4**2 + 0.1**2 + 0.5**2) ** 0.5, abs=1e-6)
    assert exact_boundary(network, x)[0].item() == pytest.approx(found.distance.item(), abs=1e-6)
