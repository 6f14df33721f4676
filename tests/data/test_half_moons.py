"""Half moons: the closed form, the settings, the seed."""

import math

import pytest
import torch

from holdfast.data import half_moons, load


def test_without_noise_the_points_lie_on_two_half_circles():
    data = half_moons(points=401, noise=0.0)
    x = torch.cat([data.train.images, data.test.images]).double()
    y = torch.cat([data.train.labels, data.test.labels])
    x = x * 3 - 1  # across from -1 to 2, up from -1/2 to 1: one minimum and maximum for both
    upper, lower = x[y == 0], x[y == 1]
    assert (len(upper), len(lower)) == (201, 200)
    assert torch.allclose(upper.norm(dim=1), torch.ones(201, dtype=torch.float64), atol=1e-5)
    assert bool((upper[:, 1] > -1e-5).all())
    centre = torch.tensor([1.0, 0.5], dtype=torch.float64)
    assert torch.allclose((lower - centre).norm(dim=1), torch.ones(200, dtype=torch.float64), atol=1e-5)
    assert bool((lower[:, 1] < 0.5 + 1e-5).all())
    angles = torch.atan2(upper[:, 1], upper[:, 0]).clamp(0, math.pi).sort().values
    assert torch.allclose(angles, torch.linspace(0, math.pi, 201, dtype=torch.float64), atol=2e-3)


def test_the_defaults_are_those_of_the_paper():
    data = load("half-moons")
    assert (len(data.train), len(data.test), data.shape) == (24_000, 6_000, (2,))
    every = torch.cat([data.train.images, data.test.images])
    assert (every.min(), every.max()) == (0, 1)
    assert torch.cat([data.train.labels, data.test.labels]).bincount().tolist() == [15_000, 15_000]
    assert abs(data.test.labels.float().mean() - 0.5) < 0.03  # shuffled before the split


def test_the_noise_has_the_standard_deviation_asked_for():
    clean, noisy = half_moons(points=20_000, noise=0.0), half_moons(points=20_000, noise=0.1)
    assert torch.equal(clean.train.labels, noisy.train.labels)
    # noise stretches the range; a least-squares line from clean to noisy undoes the scaling, the rest is noise
    a, b = clean.train.images.double().flatten(), noisy.train.images.double().flatten()
    slope = torch.cov(torch.stack([a, b]))[0, 1] / a.var()
    rest = (b - b.mean()) - slope * (a - a.mean())
    assert float(rest.std() / slope * 3) == pytest.approx(0.1, rel=0.02)


def test_the_seed_decides_and_the_global_generator_stays():
    state = torch.get_rng_state()
    one, same, other = half_moons(points=100), half_moons(points=100), half_moons(points=100, seed=1)
    assert torch.equal(one.train.images, same.train.images)
    assert one.checksum == same.checksum != other.checksum
    assert not torch.equal(one.train.images, other.train.images)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"points": 3}, "points must be a whole number of at least 4, got 3"),
        ({"points": 10.0}, "points must be a whole number of at least 4, got 10.0"),
        ({"noise": -0.1}, r"noise must lie in \[0, 1000000.0\], got -0.1"),
        ({"noise": math.nan}, "noise must lie in"),
        ({"train": 1.0}, "train=1.0 of 30000 points leaves one split empty"),
    ],
)
def test_impossible_settings_are_named(settings, fault):
    with pytest.raises(ValueError, match=f"half_moons: {fault}"):
        half_moons(**settings)
