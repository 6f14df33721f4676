"""Explanations by the nearest boundary: closed forms, axioms, and no map where there is no boundary point."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from holdfast.attacks import nearest_boundary, noisy_copies
from holdfast.ensemble import Ensemble
from holdfast.explanations import (
    adversarial_gradient_integration,
    adversarial_walk,
    boundary_deep_lift,
    boundary_integrated_gradients,
    boundary_saliency,
    boundary_smooth_grad,
    completeness_error,
    deep_lift,
    integrated_gradients,
    saliency,
    smooth_grad,
)

METHODS = [boundary_saliency, boundary_integrated_gradients, boundary_deep_lift, boundary_smooth_grad]
QUICK = {boundary_smooth_grad: dict(copies=3, spread=0.01)}
EVERY = pytest.mark.parametrize("method", METHODS, ids=[m.__name__ for m in METHODS])


def network_of(seed=0, classes=4, activation=nn.ReLU):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(2, 5, 3), activation(), nn.Flatten(), nn.Linear(80, 10), activation(), nn.Linear(10, classes)
        ).double()


def images(count=5, seed=1):
    return torch.rand(count, 2, 6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(rows, network):
    return nearest_boundary(Ensemble.from_networks(network), rows, steps=60)


def searched(method, ensemble, x):
    if method is boundary_smooth_grad:
        ensemble = noisy_copies(ensemble, tuple(x.shape[1:]), **QUICK[method])
    return nearest_boundary(ensemble, x, steps=60)


@EVERY
@pytest.mark.parametrize("draws", [1, 3])
def test_maps_have_one_entry_for_each_draw_and_do_not_depend_on_memory(method, draws):
    ensemble, x = Ensemble.from_networks([network_of(s) for s in range(draws)]), images()
    given = dict(boundary=searched(method, ensemble, x), **QUICK.get(method, {}))
    assert given["boundary"].success.all()
    maps = method(ensemble, x, **given)
    assert maps.shape == (draws, *x.shape)
    assert maps.isfinite().all()
    assert not maps.requires_grad
    torch.testing.assert_close(method(ensemble, x, given["boundary"].own, **given), maps)
    assert torch.equal(method(ensemble, x, **given, memory=1 << 28), maps)
    assert method(ensemble, x, **given, of="log_predictive").shape == (1, *x.shape)


@EVERY
def test_images_without_a_boundary_point_have_no_map(method):
    network, x = nn.Linear(3, 2).double(), torch.rand(4, 3, dtype=torch.float64)
    network.weight.data = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]], dtype=torch.float64)
    network.bias.data = torch.tensor([0.0, 0.0], dtype=torch.float64)
    x[:, 1] = 0.1 * x[:, 0]
    boundary = searched(method, Ensemble.from_networks(network), x)
    given = dict(boundary=boundary, **QUICK.get(method, {}))
    assert method(network, x, **given).isfinite().all()
    asked = torch.tensor([0, 1, 0, 1])
    finite = method(network, x, asked, **given).isfinite().all(-1)[0]
    assert finite.tolist() == [True, False, True, False]
    network.bias.data[0] = 9.0  # one class everywhere
    boundary = searched(method, Ensemble.from_networks(network), x)
    assert method(network, x, **(given | {"boundary": boundary})).isnan().all()
    with pytest.raises(ValueError, match="search with the same images"):
        method(network, x[:2], **given)
    with pytest.raises(ValueError, match="searched from other images, or from these in another order"):
        method(network, x.flip(0), **given)
    with pytest.raises(TypeError, match="what nearest_boundary returned, got Tensor"):
        method(network, x, **(given | {"boundary": x}))


def test_the_normal_is_that_of_the_boundary_and_the_published_one_is_not():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Linear(5, 3).double()
    x = torch.rand(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    boundary = nearest_boundary(Ensemble.from_networks(network), x, lower=-99, upper=99, steps=60)
    weight = network.weight.detach()
    normal = boundary_saliency(network, x, boundary=boundary)[0]
    torch.testing.assert_close(normal, weight[boundary.own] - weight[boundary.other])
    # the way to the nearest point of a hyperplane is its normal
    along = torch.cosine_similarity(normal, x - boundary.points)
    torch.testing.assert_close(along, torch.ones(6).double(), atol=1e-4, rtol=0)  # a search, not a solution
    published = boundary_saliency(network, x, boundary=boundary, rival=False)[0]
    torch.testing.assert_close(published, weight[boundary.own])
    assert (torch.cosine_similarity(published, x - boundary.points) < 0.99).all()


def test_the_normal_against_finite_differences():
    network, x = network_of(activation=nn.Tanh), images(2)
    boundary = small(x, network)
    maps = boundary_saliency(network, x, boundary=boundary)[0].flatten(1)
    for row in range(2):
        own, other = boundary.own[row], boundary.other[row]
        for pixel in (0, 17, 40):
            step = torch.zeros(72, dtype=torch.float64)
            step[pixel] = 1e-6
            logits = [network((boundary.points[row] + s * step.view(2, 6, 6))[None])[0] for s in (1, -1)]
            ahead = [(z[own] - z[other]).item() for z in logits]
            assert maps[row, pixel].item() == pytest.approx((ahead[0] - ahead[1]) / 2e-6, abs=1e-6)


def test_big_is_complete_and_its_lead_shares_out_all_of_the_lead():
    smooth, x = network_of(activation=nn.Tanh), images()
    boundary = small(x, smooth)
    maps = boundary_integrated_gradients(smooth, x, boundary=boundary)
    error = completeness_error(smooth, x, maps, boundary.own, baseline=boundary.points)
    assert error.abs().max() < 1e-4 * maps.abs().flatten(2).sum(-1).max()  # 20 points of the trapezoid rule
    for network, bound in ((smooth, 1e-3), (network_of(), 0.1)):  # of ReLUs the gradient jumps: 10 % of the lead
        boundary = small(x, network)
        maps = boundary_integrated_gradients(network, x, boundary=boundary, rival=True)
        logits = network(x).detach()
        pick = lambda classes, logits=logits: logits.gather(1, classes[:, None])[:, 0]
        lead = pick(boundary.own) - pick(boundary.other)
        torch.testing.assert_close(maps[0].flatten(1).sum(1), lead, rtol=bound, atol=1e-3)
        fine = boundary_integrated_gradients(network, x, boundary=boundary, rival=True, steps=2000)
        torch.testing.assert_close(fine[0].flatten(1).sum(1), lead, rtol=2e-3, atol=2 * boundary.tolerance)


def test_without_the_factor_the_map_is_the_mean_gradient_of_the_line():
    network, x = network_of(activation=nn.Tanh), images()
    boundary = small(x, network)
    whole = boundary_integrated_gradients(network, x, boundary=boundary)
    alone = boundary_integrated_gradients(network, x, boundary=boundary, multiply=False)
    torch.testing.assert_close(alone * (x - boundary.points), whole)
    places = torch.linspace(0, 1, 401, dtype=x.dtype)
    by_hand = sum(
        saliency(network, boundary.points + place * (x - boundary.points), boundary.own) for place in places
    ) / len(places)
    torch.testing.assert_close(alone, by_hand, rtol=2e-2, atol=2e-3)


def test_each_method_is_its_plain_counterpart_at_the_boundary_point():
    network, x = network_of(), images()
    boundary = small(x, network)
    given = dict(boundary=boundary, rival=False)
    torch.testing.assert_close(
        boundary_integrated_gradients(network, x, **given, quadrature="middle", steps=7),
        integrated_gradients(network, x, baseline=boundary.points, quadrature="middle", steps=7),
    )
    torch.testing.assert_close(boundary_deep_lift(network, x, **given), deep_lift(network, x, baseline=boundary.points))
    torch.testing.assert_close(boundary_saliency(network, x, **given), saliency(network, boundary.points, boundary.own))
    torch.testing.assert_close(
        boundary_deep_lift(network, x, **given).flatten(2).sum(-1)[0],
        (network(x) - network(boundary.points)).gather(1, boundary.own[:, None])[:, 0].detach(),
    )


def test_without_a_boundary_the_search_runs_by_itself():
    network, x = network_of(), images(2)
    found = nearest_boundary(Ensemble.from_networks(network), x)
    expected = boundary_saliency(network, x, boundary=found)
    torch.testing.assert_close(boundary_saliency(network, x), expected)


def test_noisy_copies_and_boundary_smooth_grad_against_a_slow_loop():
    network, x, shape = network_of(), images(3), (2, 6, 6)
    smooth = noisy_copies(Ensemble.from_networks(network), shape, spread=0.2, copies=4, seed=5)
    noise = 0.2 * torch.randn(4, *shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    expected = torch.stack([network(x + e) for e in noise]).mean(0)
    torch.testing.assert_close(smooth.logits(x)[0], expected.detach())
    boundary = nearest_boundary(smooth, x, steps=60)
    assert boundary.success.all()
    maps = boundary_smooth_grad(network, x, boundary=boundary, copies=4, spread=0.2, seed=5)
    by_hand = torch.stack(
        [
            saliency(network, boundary.points + e, boundary.own)
            - saliency(network, boundary.points + e, boundary.other)
            for e in noise
        ]
    ).mean(0)
    torch.testing.assert_close(maps, by_hand)
    linear = nn.Linear(3, 2).double()
    points = torch.rand(4, 3, dtype=torch.float64)
    torch.testing.assert_close(smooth_grad(linear, points, 0), saliency(linear, points, 0))


# --- axioms ---


def pair(first, bias, second, shift):
    """A network of two pixels and two classes."""
    network = nn.Sequential(nn.Linear(2, len(first)), nn.ReLU(), nn.Linear(len(first), 2)).double()
    as_tensor = lambda values: torch.tensor(values, dtype=torch.float64)
    network[0].weight.data, network[0].bias.data = as_tensor(first), as_tensor(bias)
    network[2].weight.data, network[2].bias.data = as_tensor(second), as_tensor(shift)
    return network


def test_agi_fails_symmetry_on_the_example_of_the_paper_and_integrated_gradients_hold_it():
    # class 0 is min(x, y) = (x + y - |x - y|) / 2; class 1 is -y - 2 relu(8 x - y): it pushes x down first, then y
    first = [[1, 1], [1, -1], [-1, 1], [0, 1], [8, -1]]
    network = pair(first, [0.0] * 5, [[0.5, -0.5, -0.5, 0, 0], [0, 0, 0, -1, -2]], [0.0, 0.0])
    one = torch.ones(1, 2, dtype=torch.float64)
    straight = integrated_gradients(network, one, 0, steps=100)[0, 0]
    assert straight.tolist() == pytest.approx([0.5, 0.5])
    walked = adversarial_gradient_integration(network, one, 0, steps=2000, step_size=0.005)[0, 0]
    assert walked[0] > 0.8
    assert walked[1] < 0.2  # although both pixels are treated alike by min(x, y), and equal


def test_big_is_symmetric_where_its_boundary_point_is():
    # max(x, y) = (x + y + |x - y|) / 2 against 0.4: from (0.8, 0.8) the nearest other decision is (0.4, 0.4)
    network = pair([[1, 1], [1, -1], [-1, 1]], [0.0] * 3, [[0.5, 0.5, 0.5], [0, 0, 0]], [0.0, 0.4])
    x = torch.full((1, 2), 0.8, dtype=torch.float64)
    boundary = small(x, network)
    torch.testing.assert_close(boundary.points, torch.full_like(x, 0.4), atol=2e-3, rtol=0)
    maps = boundary_integrated_gradients(network, x, boundary=boundary, steps=100)[0, 0]
    assert maps[0].item() == pytest.approx(maps[1].item(), abs=0.05)


def test_big_breaks_symmetry_where_two_mirrored_points_are_nearest():
    # min(x, y) against 0.4: (0.8, 0.4) and (0.4, 0.8) are equally near, and the search takes one of them
    network = pair([[1, 0], [1, -1]], [0.0, 0.0], [[1, -1], [0, 0]], [0.0, 0.4])
    x = torch.full((1, 2), 0.8, dtype=torch.float64)
    maps = boundary_integrated_gradients(network, x, boundary=small(x, network))[0, 0]
    # at x itself both are equal and the network's slope is that of neither: one end, 1/38, of the trapezoid rule
    assert sorted(maps.abs().tolist()) == pytest.approx([0.0, 0.4 * 37 / 38], abs=1e-3)


@EVERY
def test_a_pixel_without_influence_has_no_share(method):
    network, x = network_of(), images()
    network[0].weight.data[:, 1] = 0  # the second channel is not looked at
    boundary = searched(method, Ensemble.from_networks(network), x)
    maps = method(network, x, boundary=boundary, **QUICK.get(method, {}))
    assert (maps[0, :, 1] == 0).all()
    assert (maps[0, :, 0] != 0).any()


def test_a_difference_in_one_pixel_that_changes_the_decision_has_a_share():
    network = pair([[1, 0]], [-0.2], [[1], [0]], [0.0, 0.3])
    x = torch.tensor([[0.9, 0.4]], dtype=torch.float64)
    for method in (boundary_integrated_gradients, boundary_deep_lift):
        maps = method(network, x, boundary=small(x, network), rival=True)[0, 0]
        assert maps.tolist() == pytest.approx([0.4, 0.0], abs=1e-3)


@EVERY
def test_equal_functions_have_equal_maps(method):
    network, x = network_of(), images(3)
    other = network_of()
    order, scale = torch.randperm(10, generator=torch.Generator().manual_seed(0)), torch.linspace(0.5, 2, 10).double()
    other[3].weight.data = scale[:, None] * network[3].weight.data[order]
    other[3].bias.data = scale * network[3].bias.data[order]
    other[5].weight.data = network[5].weight.data[:, order] / scale
    boundary = searched(method, Ensemble.from_networks(network), x)
    given = dict(boundary=boundary, **QUICK.get(method, {}))
    torch.testing.assert_close(method(other, x, **given), method(network, x, **given))


# --- adversarial gradient integration ---


def test_the_walk_is_a_walk():
    ensemble, x = Ensemble.from_networks([network_of(s, activation=nn.Tanh) for s in range(2)]), images()
    other = (ensemble.predict(x) + 1) % 4
    path = adversarial_walk(ensemble, x, other, steps=12, step_size=0.03)
    sizes = [(b - a).abs().max().item() for a, b in pairwise(path)]
    assert max(sizes) <= 0.03 + 1e-12
    assert (path[-1] - x).abs().max() > 0.031  # farther than one step
    assert all(((p >= 0) & (p <= 1)).all() for p in path)
    arrived = ensemble.predict(path[-1]) == other
    assert arrived.any() or len(path) == 13


def test_agi_is_complete_along_its_walks():
    ensemble, x = Ensemble.from_networks([network_of(s, activation=nn.Tanh) for s in range(2)]), images()
    given = dict(steps=40, step_size=0.01)
    maps = adversarial_gradient_integration(ensemble, x, n_target_classes=2, **given)
    own = ensemble.predict(x)
    log_p = ensemble.log_predictive(x).scatter(1, own[:, None], -torch.inf)
    expected = torch.zeros(2, 5, dtype=torch.float64)
    pick = lambda points: ensemble.logits(points).gather(-1, own.expand(2, -1)[..., None])[..., 0]
    for rank in range(2):
        end = adversarial_walk(ensemble, x, log_p.argsort(-1, descending=True)[:, rank], **given)[-1]
        expected += pick(x) - pick(end)
    torch.testing.assert_close(maps.flatten(2).sum(-1), expected, atol=1e-4, rtol=1e-3)


def test_agi_settings_are_checked():
    with pytest.raises(ValueError, match=r"step_size must lie in \(0"):
        adversarial_gradient_integration(network_of(), images(), step_size=0.0)
    with pytest.raises(ValueError, match="n_target_classes must lie in"):
        adversarial_gradient_integration(network_of(), images(), n_target_classes=0)
