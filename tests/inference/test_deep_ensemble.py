"""deep_ensemble: members trained together are the members trained one by one."""

import pytest
import torch
from problems import Residual, blobs

from holdfast.inference import Training, deep_ensemble, sgd
from holdfast.inference.seeds import member_seeds
from holdfast.networks import conv, fc2

SHORT = Training(epochs=3, batch_size=50)


def without_dropout():
    network = Residual()
    network.drop.p = 0.0  # its noise is drawn for all members at once
    return network


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: fc2((4,), 3, width=16), (4,)),
        (lambda: conv((1, 16, 16), 3, width=4), (1, 16, 16)),
        (without_dropout, (1, 6, 6)),
    ],
    ids=["fc2", "conv", "residual with batch norm"],
)
def test_stacked_members_equal_members_trained_alone(make, shape):
    data = blobs(120, shape=shape, dtype=torch.float64)
    together = deep_ensemble(make(), data, seed=7, members=3, training=SHORT)
    assert len(together) == 3
    for i, seed in enumerate(member_seeds(7, 3)):
        alone = sgd(make(), data, seed=seed, training=SHORT)
        for name, value in alone.weights.items():
            assert torch.allclose(together.weights[name][i].double(), value[0].double(), atol=1e-8), name


def test_members_differ_in_their_weights_and_in_their_batch_order():
    data = blobs()
    ensemble = deep_ensemble(fc2((4,), 3, width=16), data, seed=0, members=4, training=SHORT)
    weights = ensemble.weights["linear1.weight"].flatten(1)
    assert torch.cdist(weights, weights).add(torch.eye(4)).min() > 0.1


def test_dropout_differs_between_members():
    ensemble = deep_ensemble(Residual(), blobs(shape=(1, 6, 6)), seed=0, members=2, training=SHORT)
    assert not torch.equal(ensemble.weights["out.weight"][0], ensemble.weights["out.weight"][1])


def test_no_members():
    with pytest.raises(ValueError, match="deep_ensemble: members must be a whole number of at least 1, got 0"):
        deep_ensemble(fc2((4,), 3), blobs(), seed=0, members=0)
