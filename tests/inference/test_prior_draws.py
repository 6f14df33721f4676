"""prior_draws: the law of the draws, and that they know nothing of the data."""

import pytest
import torch
from problems import Residual, blobs

from holdfast.inference import Isotropic, prior_draws
from holdfast.networks import fc2


def test_draws_have_the_deviations_of_the_prior():
    ensemble = prior_draws(fc2((4,), 3, width=20), blobs(), seed=0, draws=500)
    for name, expected in {"linear1.weight": 0.5**0.5, "output.weight": 0.8**0.5, "linear2.bias": 0.3}.items():
        values = ensemble.weights[name]
        assert float(values.std()) == pytest.approx(expected, rel=0.03)
        assert abs(float(values.mean())) < 5 * expected / values.numel() ** 0.5


def test_the_labels_do_not_matter_and_the_seed_does():
    draws = lambda split, seed: prior_draws(Residual(), split, seed=seed, draws=3, prior=Isotropic(0.1)).weights
    split = blobs(shape=(1, 6, 6))
    one, two = draws(split, 0), draws(split[:10], 0)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert not torch.equal(one["conv.weight"], draws(split, 1)["conv.weight"])
    assert torch.equal(one["norm.weight"], torch.ones(3, 4))


def test_bad_settings():
    with pytest.raises(ValueError, match="prior_draws: draws must be a whole number of at least 1, got 0"):
        prior_draws(fc2((4,), 3), blobs(), seed=0, draws=0)
