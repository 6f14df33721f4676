"""The nearest boundary: closed forms, the exact walk, and that a failed search never passes for a found point."""

import itertools
import math

import pytest
import torch
from torch import nn

from holdfast.attacks import boundary, boundary_stages, exact_boundary, nearest_boundary
from holdfast.budget import Budget
from holdfast.data import load
from holdfast.ensemble import Ensemble
from holdfast.networks import load_trained


def two_layers(first, bias, second, shift=(0.0, 0.0), dtype=torch.float64):
    first, second = torch.tensor(first, dtype=dtype), torch.tensor(second, dtype=dtype)
    network = nn.Sequential(nn.Linear(first.shape[1], len(first)), nn.ReLU(), nn.Linear(len(first), len(second))).to(
        dtype
    )
    network[0].weight.data, network[0].bias.data = first, torch.tensor(bias, dtype=dtype)
    network[2].weight.data, network[2].bias.data = second, torch.tensor(shift, dtype=dtype)
    return network


def random_network(dims, hidden, depth, classes, seed):
    sizes = [dims, *[hidden] * depth, classes]
    layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    network, generator = nn.Sequential(*layers[:-1]).double(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) / max(2, p.shape[-1]) ** 0.5)
    return network


def images(count, *shape, seed=0, dtype=torch.float64):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_networks_give_the_distance_to_the_nearest_hyperplane(norm, dtype):
    generator = torch.Generator().manual_seed(3)
    network = nn.Linear(12, 5).to(dtype)
    network.weight.data = torch.randn(5, 12, generator=generator).to(dtype)
    network.bias.data = 0.1 * torch.randn(5, generator=generator).to(dtype)
    x = images(20, 12, dtype=dtype)
    # a wide range of pixels, so that it never binds
    found = nearest_boundary(Ensemble.from_networks(network), x, norm=norm, lower=-9, upper=9, steps=100)
    logits = network(x).detach()
    own = logits.argmax(-1)
    ahead = logits.gather(1, own[:, None]) - logits
    normals = network.weight.detach()[own][:, None] - network.weight.detach()
    dual = normals.norm(dim=-1) if norm == "l2" else normals.abs().sum(-1)
    expected = (ahead / dual).nan_to_num(nan=math.inf).amin(1)
    assert found.success.all()
    assert found.on_boundary.all()
    torch.testing.assert_close(found.distance, expected, atol=1e-3, rtol=0)
    assert torch.equal(found.other, (ahead / dual).nan_to_num(nan=math.inf).argmin(1))


def test_a_pixel_range_that_binds_is_kept():
    network = two_layers([[1.0, 1.0]], [0.0], [[1.0], [0.0]], [-0.5, 0.0])
    x = torch.tensor([[0.1, 0.9]], dtype=torch.float64)  # x0 + x1 falls to 1/2: the free foot would be (-0.15, 0.65)
    found = nearest_boundary(Ensemble.from_networks(network), x, steps=200)
    expected = math.hypot(0.1, 0.4)  # (0, 0.5)
    assert found.distance.item() == pytest.approx(expected, abs=1e-3)
    assert found.points.min() >= 0


CORNERS = {  # name -> network, image, nearest distance in l2 and linf
    # class 1 where max(x0 - 0.8, x1 - 0.7) > 0: two half-planes, the nearer one
    "union": (
        two_layers([[1.0, 0.0], [1.0, -1.0], [-1.0, 1.0]], [0.0, -0.1, 0.1], [[0, 0, 0], [1, 0, 1]], [0, -0.8]),
        [0.3, 0.35],
        0.35,
        0.35,
    ),
    # class 1 where min(x0 - 0.8, x1 - 0.7) > 0: a quadrant; seen from outside, its corner
    "corner": (
        two_layers([[1.0, 0.0], [1.0, -1.0]], [0.0, -0.1], [[0, 0], [1, -1]], [0, -0.8]),
        [0.5, 0.3],
        0.5,
        0.4,
    ),
    # class 1 where |x0 - 0.5| + |x1 - 0.5| > 0.3: seen from inside, a side
    "diamond": (
        two_layers(
            [[1.0, 0], [-1, 0], [0, 1], [0, -1]], [-0.5, 0.5, -0.5, 0.5], [[0, 0, 0, 0], [1, 1, 1, 1]], [0, -0.3]
        ),
        [0.55, 0.52],
        0.23 / math.sqrt(2),
        0.115,
    ),
}


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", CORNERS)
def test_piecewise_linear_networks_with_a_closed_form(name, norm):
    network, x, l2, linf = CORNERS[name]
    x, expected = torch.tensor([x], dtype=torch.float64), {"l2": l2, "linf": linf}[norm]
    found = nearest_boundary(Ensemble.from_networks(network), x, norm=norm, tolerance=1e-6)
    assert found.distance.item() == pytest.approx(expected, abs=1e-3)
    assert exact_boundary(network, x, norm=norm)[0].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_exact_walk_agrees_with_a_fine_grid(norm):
    ticks = torch.linspace(0, 1, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks)
    for seed in range(3 if norm == "l2" else 1):  # linear programs take their time
        network, x = random_network(2, 8, 2, 3, seed), images(3, 2, seed=seed)
        distance, points = exact_boundary(network, x, norm=norm)
        decided = network(grid).argmax(-1)
        for row in range(len(x)):
            other = grid[decided != network(x[row : row + 1]).argmax()] - x[row]
            away = other.norm(dim=1) if norm == "l2" else other.abs().amax(1)
            nearest = away.amin().item() if len(away) else math.inf
            if math.isinf(nearest):
                assert distance[row] > 0.01
                continue
            assert distance[row].item() - 1e-9 <= nearest <= distance[row].item() + 0.003
            top = network(points[row : row + 1]).topk(2).values[0]
            assert (top[0] - top[1]).item() == pytest.approx(0, abs=1e-6)


def test_the_search_is_near_the_exact_distance_and_never_below():
    ratios = []
    for seed in range(3):
        network, x = random_network(4, 8, 1, 3, seed), images(6, 4, seed=seed)
        exact, _ = exact_boundary(network, x)
        found = nearest_boundary(Ensemble.from_networks(network), x, tolerance=1e-6)
        assert not (found.success & torch.isinf(exact)).any()
        assert (found.distance >= exact - 1e-7)[found.success].all()
        ratios.append((found.distance / exact)[torch.isfinite(exact)])
    ratios = torch.cat(ratios)
    assert not ratios.isnan().any()
    assert (ratios < 1.001).double().mean() >= 0.8
    assert ratios.median() < 1 + 1e-6


def colour_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4))


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("draws", [1, 3])
def test_points_hold_when_the_network_is_asked_again(norm, draws):
    with torch.random.fork_rng():
        networks = [colour_network() for _ in range(draws)]
    for i, network in enumerate(networks):
        for p in network.parameters():
            p.data += 0.05 * i
    ensemble, x = Ensemble.from_networks(networks), images(8, 3, 6, 6, dtype=torch.float32)
    given = dict(norm=norm, lower=(-0.5, 0.0, 0.0), upper=(1.0, 1.0, 1.5), steps=80)
    found = nearest_boundary(ensemble, x, **given)
    assert found.success.any()
    log_p = ensemble.log_predictive(found.points)
    rows = found.success.nonzero()[:, 0]
    assert torch.equal(ensemble.predict(found.points)[rows], found.other[rows])
    assert (found.other != found.own)[rows].all()
    gap = log_p.gather(1, found.other[:, None]) - log_p.gather(1, found.own[:, None])
    assert (gap[rows] >= 0).all()
    assert (gap[rows] <= found.tolerance).all()
    assert found.on_boundary[rows].all()
    budget = Budget(norm, 1.0, given["lower"], given["upper"])
    torch.testing.assert_close(found.distance[rows], budget.size(found.points, x)[rows])
    low, high = budget.bounds(x)
    assert ((found.points >= low) & (found.points <= high)).all()
    assert (found.gradients <= 80).all()
    again = nearest_boundary(ensemble, x, **given, memory=1 << 28)
    assert torch.equal(found.points, again.points)


def test_another_search_never_takes_a_nearer_point_away():
    # two points beyond the boundary, one a little nearer: its way back may end farther from the image
    ensemble, x = load_trained("placed-standard"), load("placed").test.images[:24]
    first = nearest_boundary(ensemble, x, steps=60, stages=["pgd"])
    both = nearest_boundary(ensemble, x, steps=120, stages=["pgd", "pgd"])  # as many for the first
    assert first.success.all()
    assert (both.distance <= first.distance * (1 + 1e-5)).all()


@pytest.mark.parametrize("networks", [1, 2])
def test_points_are_no_nearer_the_boundary_than_a_network_can_tell(networks):
    with torch.random.fork_rng():
        ensemble = Ensemble.from_networks([colour_network() for _ in range(networks)])
    x = images(64, 3, 6, 6, dtype=torch.float32)
    found = nearest_boundary(ensemble, x, steps=80)
    reached = found.gap[found.success]
    assert len(reached) > 20
    assert reached.min() > found.tolerance / 10
    assert reached.max() <= found.tolerance


def test_where_nothing_is_found_nothing_is_claimed():
    network = two_layers([[1.0, 0.0]], [0.0], [[-1.0], [0.0]], [3.0, 0.0])  # 3 - x0 against 0: one class everywhere
    x = images(3, 2)
    found = nearest_boundary(Ensemble.from_networks(network), x, steps=40)
    assert not found.success.any()
    assert found.distance.isnan().all()
    assert found.gap.isnan().all()
    assert torch.equal(found.points, x)
    assert torch.equal(found.own, found.other)
    assert found.found_by == ("", "", "")
    assert found.summary == pytest.approx(
        dict(images=3, found=0, misclassified=0, not_found=3, median_distance=math.nan), nan_ok=True
    )
    assert exact_boundary(network, x)[0].isinf().all()


def test_a_class_that_no_gradient_tells_of_is_found():
    # class 1 in the corner x0 + x1 > 1.7; below 1.6 nothing changes with x, so that gradients are zero
    network = two_layers([[1.0, 1.0]], [-1.6], [[0.0], [1.0]], [0.1, 0.0])
    x = images(4, 2) / 2
    found = nearest_boundary(Ensemble.from_networks(network), x, steps=60)
    assert found.success.all()
    exact, _ = exact_boundary(network, x)
    torch.testing.assert_close(found.distance, exact, atol=1e-3, rtol=0)


def test_one_image_out_of_reach_does_not_disturb_the_others():
    # class 1 where x0 > 1.5 - x1; the third coordinate adds 2 to class 0 once it is above 1/2, and costs 9 to change
    network = nn.Linear(3, 2, bias=True).double()
    network.weight.data = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    network.bias.data = torch.tensor([0.0, -2.5], dtype=torch.float64)
    blocked = images(2, 3)  # x0 + x1 = 2.5 lies outside the pixel range
    wide = nearest_boundary(Ensemble.from_networks(network), blocked, upper=(1.0, 1.0, 1.0), steps=40)
    assert not wide.success.any()
    reach = nearest_boundary(Ensemble.from_networks(network), blocked, upper=(2.0, 2.0, 1.0), steps=40)
    assert reach.success.all()


def test_misclassified_images_are_flagged_and_not_searched():
    network = two_layers([[1.0, 0.0]], [0.0], [[1.0], [0.0]], [-0.5, 0.0])
    x = torch.tensor([[0.7, 0.1], [0.3, 0.1]], dtype=torch.float64)
    found = nearest_boundary(Ensemble.from_networks(network), x, torch.tensor([0, 0]), steps=40)
    assert found.misclassified.tolist() == [False, True]
    assert found.success.tolist() == [True, False]
    assert found.distance[1].isnan()
    assert found.gradients[1] == 0
    assert found.summary["misclassified"] == 1
    assert found[1:].found_by == ("",)
    assert found[torch.tensor([True, False])].distance.item() == pytest.approx(0.2, abs=1e-3)
    all_wrong = nearest_boundary(Ensemble.from_networks(network), x, torch.tensor([1, 0]), steps=40)
    assert all_wrong.misclassified.all()


def test_bad_input_is_explained():
    network = nn.Linear(2, 2)
    ensemble, x = Ensemble.from_networks(network), torch.rand(2, 2)
    with pytest.raises(ValueError, match="a network of one class has no boundary"):
        nearest_boundary(Ensemble.from_networks(nn.Linear(2, 1)), x)
    with pytest.raises(ValueError, match="norm must be 'l2' or 'linf', got 'l1'"):
        nearest_boundary(ensemble, x, norm="l1")
    with pytest.raises(ValueError, match=r"stages must name some of minimal_norm, .*, got \['fgsm'\]"):
        nearest_boundary(ensemble, x, stages=("fgsm",))
    with pytest.raises(ValueError, match="must lie in the pixel range"):
        nearest_boundary(ensemble, x + 1)
    with pytest.raises(ValueError, match=r"expected nn\.Sequential of nn\.Linear layers"):
        exact_boundary(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)), x)
    with pytest.raises(ValueError, match="more than 1 linear regions"):
        exact_boundary(random_network(6, 12, 1, 4, 0), images(12, 6), most_regions=1)
    with pytest.raises(ValueError, match=r"exact_boundary: .* a network of one class has no boundary"):
        exact_boundary(nn.Sequential(nn.Linear(2, 1)), x)
    with pytest.raises(ValueError, match=r"exact_boundary: images must lie in the pixel range 0\.0 to 1\.0"):
        exact_boundary(nn.Sequential(network), x + 1)
    with pytest.raises(ValueError, match=r"the network takes 2 numbers an image, got images \(3,\)"):
        exact_boundary(nn.Sequential(network), torch.rand(2, 3))


@pytest.mark.parametrize("steps", [1, 2, 5, 11])
@pytest.mark.parametrize("draws", [1, 3])
def test_a_small_budget_is_used_and_kept(steps, draws):
    network = nn.Linear(3, 4).double()
    network.weight.data = torch.eye(4, 3, dtype=torch.float64)
    network.bias.data = torch.zeros(4, dtype=torch.float64)
    x = torch.tensor([[0.6, 0.5, 0.1], [0.2, 0.3, 0.9]], dtype=torch.float64)
    found = nearest_boundary(Ensemble.from_networks([network] * draws), x, steps=steps)
    assert (found.gradients >= 1).all()
    assert (found.gradients <= steps).all()
    assert found.success.all()  # the boundary is linear: one step crosses it
    assert found.distance[0].item() == pytest.approx(0.1 / math.sqrt(2), rel=1e-3)
    network.bias.data[0] = 9.0  # one class everywhere: nothing to find, and no gradient beyond the budget
    for stage in ("minimal_norm", "pgd"):
        nowhere = nearest_boundary(Ensemble.from_networks([network] * draws), x, steps=steps, stages=(stage,))
        assert not nowhere.success.any()
        assert (nowhere.gradients <= steps).all()


def test_when_the_time_is_up_what_was_found_counts(monkeypatch):
    network, x = random_network(6, 12, 1, 4, 1), images(4, 6, seed=1)
    monkeypatch.setattr(boundary, "monotonic", lambda: 0)
    found = {}
    for seconds in (0.5, 20.5, 1e9):
        ticks = itertools.count()
        monkeypatch.setattr(boundary_stages, "monotonic", lambda ticks=ticks: next(ticks))
        found[seconds] = nearest_boundary(Ensemble.from_networks(network), x, steps=120, seconds=seconds)
    spent = {s: f.gradients.max().item() for s, f in found.items()}
    assert spent[0.5] == 1  # the clock's first tick is 0
    assert spent[20.5] <= 21
    assert spent[1e9] > 80
    early, late = found[20.5], found[1e9]
    assert 0 < early.success.sum() < len(x)
    assert late.success.all()
    assert (early.distance >= late.distance - 1e-12)[early.success].all()
    assert torch.equal(early.on_boundary, early.success)
    assert torch.equal(found[1e9].points, nearest_boundary(Ensemble.from_networks(network), x, steps=120).points)
    with pytest.raises(ValueError, match="seconds"):
        nearest_boundary(Ensemble.from_networks(network), x, seconds=0)
