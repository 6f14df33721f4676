"""sgd: reaches the known optimum, learns the real data."""

import pytest
import torch
from problems import accuracy, blobs
from torch import nn

from holdfast import data
from holdfast.ensemble import Ensemble
from holdfast.inference import Training, sgd
from holdfast.networks import fc2


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_logistic_regression_reaches_the_optimum_that_newton_finds(optimiser):
    split = blobs(120, shape=(2,), classes=2, dtype=torch.float64)
    decay = 0.05  # makes the optimum unique and finite
    rate = {"adam": 0.05, "sgd": 0.5}[optimiser]
    training = Training(150, 20, rate, optimiser, weight_decay=decay)
    ensemble = sgd(nn.Linear(2, 2), split, seed=0, training=training)

    x = torch.cat([split.images, torch.ones(120, 1, dtype=torch.float64)], 1)
    w = torch.zeros(2, 3, dtype=torch.float64)

    def objective(w):
        loss = torch.nn.functional.cross_entropy(x @ w.view(2, 3).T, split.labels)
        return loss + 0.5 * decay * w.square().sum()

    for _ in range(30):
        gradient = torch.func.grad(objective)(w.flatten())
        hessian = torch.func.hessian(objective)(w.flatten())
        w = (w.flatten() - torch.linalg.solve(hessian, gradient)).view(2, 3)
    found = torch.cat([ensemble.weights["weight"][0], ensemble.weights["bias"][0][:, None]], 1)
    assert torch.allclose(found, w, atol=0.02)


def test_one_step_is_the_step_that_was_asked_for():
    split = blobs(30)
    network = fc2((4,), 3, width=6)
    start = sgd(network, split, seed=0, training=Training(1, 30, 1e-30, "sgd", "constant"))
    moved = sgd(network, split, seed=0, training=Training(1, 30, 0.1, "sgd", "constant"))
    module = start.module().requires_grad_()
    torch.nn.functional.cross_entropy(module(split.images), split.labels).backward()
    for name, p in module.named_parameters():
        assert torch.allclose(moved.weights[name][0], p.detach() - 0.1 * p.grad, atol=1e-6)


def test_learns_embedded_fashion():
    split = data.load("fashion-mini")
    ensemble = sgd(fc2((1, 28, 28), 10, width=64), split.train, seed=0, training=Training(epochs=5))
    assert isinstance(ensemble, Ensemble)
    assert accuracy(ensemble, split.test) > 0.78
    curve = ensemble.diagnostics.history["loss"]
    assert len(curve) == 5
    assert curve[-1] < 0.6 < curve[0]
    assert ensemble.diagnostics.summary["final_loss"] == curve[-1]
