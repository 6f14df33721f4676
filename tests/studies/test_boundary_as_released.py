"""The museum's boundary search does what its docstring says is wrong."""

import torch
from torch import nn

from holdfast.attacks import nearest_boundary
from holdfast.ensemble import Ensemble
from holdfast.studies.published import boundary_as_released


def halves(gain=1.0):
    """Class 0 where the first of two pixels is the larger."""
    network = nn.Linear(2, 2, bias=False)
    network.weight.data = gain * torch.eye(2)
    return Ensemble.from_networks(network)


X, Y = torch.tensor([[0.7, 0.5], [0.9, 0.3], [0.2, 0.8]]), torch.tensor([0, 0, 0])  # at .14, .42; the last is wrong


def test_failures_keep_the_point_of_the_smallest_radius():
    found = boundary_as_released(halves(), X, Y, radii=[0.05, 0.3], steps=20)
    assert found.success.tolist() == [True, False, False]
    assert found.misclassified.tolist() == [False, False, True]
    assert 0 < found.distance[1] <= 0.05 + 1e-6
    assert found.distance[2].isnan()
    assert (found.points[1] != X[1]).any()
    assert (found.points[2] == X[2]).all()
    assert not nearest_boundary(halves(), X, Y, steps=30).success[2]


def test_points_are_left_beyond_the_boundary():
    x, exact = X[:1].expand(50, 2), 0.2 / 2**0.5
    assert abs(nearest_boundary(halves(), X[:1], steps=50).distance[0] - exact) < 1e-3
    found = boundary_as_released(halves(), x, torch.zeros(50, dtype=torch.int64), radii=[0.3], steps=20)
    assert found.success.sum() > 20
    assert (found.distance[found.success] - exact).mean() > 0.1


def test_the_walk_in_a_small_ball_is_too_short_to_cross_it():
    radius, x = 0.05, torch.tensor([[0.52, 0.48]]).expand(200, 2)  # the boundary is .028 away
    found = boundary_as_released(halves(), x, torch.zeros(200, dtype=torch.int64), radii=[radius])
    assert 0.1 < found.success.double().mean() < 0.9  # whom the random start brings near
    assert nearest_boundary(halves(), x[:1], steps=30).distance[0] < radius


def test_a_failed_point_keeps_a_success_out():
    x, y = X[:2], Y[:2]
    found = boundary_as_released(halves(), x, y, radii=[0.05], steps=5, carlini_wagner_steps=30)
    assert found.success.tolist() == [False, False]
    wide = boundary_as_released(halves(), x, y, radii=[0.9], steps=5, carlini_wagner_steps=30)
    assert wide.success.all()
    assert wide.distance[0] < 0.15
