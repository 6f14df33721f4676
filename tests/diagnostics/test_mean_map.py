"""The robustness of the mean map, and whether its error is the spread that fresh draws really have."""

import math

import pytest
import torch

from holdfast.diagnostics.mean_map import block_bootstrap_error, blocks_of, mean_map_robustness
from holdfast.scores import k_lrp


def maps(draws, seed, images=6):
    """Draws of heatmaps around fixed means, before and after an attack that moves the means."""
    fixed = torch.Generator().manual_seed(7)
    before = torch.randn(images, 1, 8, 8, generator=fixed)
    after = before + 0.7 * torch.randn(images, 1, 8, 8, generator=fixed)
    noise = torch.randn(2, draws, images, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return before + noise[0], after + noise[1]


def test_the_value_is_that_of_the_mean_maps():
    clean, attacked = maps(12, 0)
    value, _ = mean_map_robustness(clean, attacked, None, k=25)
    assert value == pytest.approx(float(k_lrp(clean.mean(0), attacked.mean(0), k=25).mean()))


@pytest.mark.parametrize(("draws", "chains"), [(20, None), (40, 2), (5, None)])
def test_the_error_is_the_spread_over_fresh_draws(draws, chains):
    found = [mean_map_robustness(*maps(draws, seed, images=4), chains, k=25) for seed in range(40)]
    values, errors = torch.tensor(found, dtype=torch.float64).T
    assert 0.8 < float(errors.square().mean().sqrt() / values.std()) < 1.35


@pytest.mark.parametrize(("draws", "chains", "blocks"), [(40, None, 10), (40, 2, 10), (40, 10, 10), (7, None, 7)])
def test_of_a_mean_it_is_the_error_of_the_mean(draws, chains, blocks):
    values = torch.randn(draws, generator=torch.Generator().manual_seed(0))
    cut = blocks_of(draws, chains)
    assert len(cut) == blocks
    means = torch.stack([values[b].mean() for b in cut])
    found = block_bootstrap_error(lambda times: float(means @ times) / blocks, blocks, resamples=20_000)
    assert found == pytest.approx(float(means.std()) / math.sqrt(blocks), rel=0.03)


def test_blocks_do_not_cross_chains():
    found = blocks_of(42, 3)
    assert len(found) == 12
    assert all(b.start // 14 == (b.stop - 1) // 14 for b in found)
    assert found[0].start == 0
    assert [b.stop for b in found[:-1]] == [b.start for b in found[1:]]
    assert found[-1].stop == 42


def test_autocorrelated_draws_have_a_larger_error():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(400, generator=generator, dtype=torch.float64)
    x = [noise[0]]
    for step in noise[1:]:
        x.append(0.8 * x[-1] + 0.6 * step)
    values = torch.stack(x)

    def error(v):
        means = v.view(10, 40).mean(1)
        return block_bootstrap_error(lambda times: float(means @ times.double()) / 10, len(blocks_of(400, 1)), 2000)

    assert error(values) > 1.7 * error(values[torch.randperm(400, generator=generator)])  # 3 times in the limit


def test_what_has_no_error():
    clean, attacked = maps(1, 0)
    assert mean_map_robustness(clean, attacked, None, k=25)[1] == 0.0
    assert math.isnan(mean_map_robustness(*maps(3, 0), None, k=25)[1])
    assert math.isnan(mean_map_robustness(*maps(6, 0), 2, k=25)[1])
    assert math.isnan(mean_map_robustness(clean, attacked, 1, k=25)[1])
