"""mc_dropout: the draws' masks, what training drops, the errors."""

import pytest
import torch
import torch.nn.functional as F
from problems import Residual, accuracy, blobs
from torch import nn

from holdfast.inference import Training, mc_dropout
from holdfast.inference.layers import Layer
from holdfast.inference.mc_dropout import Dropout, thin
from holdfast.networks import fc2

SHORT = Training(epochs=2, batch_size=50)


def test_a_draw_is_one_thinned_network():
    ensemble = mc_dropout(fc2((4,), 3, width=40), blobs(), seed=0, draws=200, rate=0.3, training=SHORT)
    first, second = ensemble.weights["linear1.weight"], ensemble.weights["linear2.weight"]
    assert (first == first[0]).all()  # the pixels are not dropped
    gone = (second == 0).all(1)  # [draws, input units]
    assert ((second == 0).any(1) == gone).all()  # whole units
    assert float(gone.float().mean()) == pytest.approx(0.3, abs=5 * (0.21 / gone.numel()) ** 0.5)
    for s in range(1, 200):
        kept = ~gone[s] & ~gone[0]
        assert torch.equal(second[s][:, kept], second[0][:, kept])
    assert len({tuple(row.tolist()) for row in gone}) > 190


@pytest.mark.parametrize(
    ("function", "shape", "image", "groups"),
    [
        (F.linear, (5, 6), (6,), 1),
        (F.conv2d, (4, 3, 2, 2), (6, 4, 4), 2),
        (F.conv_transpose2d, (6, 2, 2, 2), (6, 4, 4), 3),
    ],
)
def test_thinning_the_weights_is_dropping_the_inputs(function, shape, image, groups):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    x = torch.randn((1, *image), generator=generator, dtype=torch.float64)
    options = {} if function is F.linear else {"groups": groups}
    thinned = thin(weight.expand(50, *shape), Layer(function, "w", None, groups), 0.4, generator)
    patterns = set()
    for w in thinned:
        # which inputs are gone: those that no longer change the output
        t = x.clone().requires_grad_()
        function(t, w, **options).square().sum().backward()
        alive = t.grad.flatten(2).abs().sum((0, 2)) > 0 if x.ndim > 2 else t.grad[0].abs() > 0
        mask = alive.double().view(1, -1, *[1] * (x.ndim - 2)) / 0.6
        assert torch.allclose(function(x, w, **options), function(x * mask, weight, **options))
        patterns.add(tuple(alive.tolist()))
    assert len(patterns) > 10


def test_training_drops_anew_for_every_image_and_keeps_the_mean():
    network = nn.Linear(6, 4).double()
    x = torch.rand(1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64).repeat(20_000, 1)
    with torch.no_grad(), Dropout({"weight": network.weight}, 0.25, torch.Generator().manual_seed(1)):
        outputs = network(x)
    expected = network(x[:1])[0].detach()
    exact = (0.25 / 0.75) * (x[0] ** 2) @ (network.weight.detach() ** 2).T
    assert ((outputs.mean(0) - expected).abs() < 5 * (exact / 20_000).sqrt()).all()
    assert torch.allclose(outputs.var(0), exact, rtol=0.06)


def test_learns_and_reports():
    ensemble = mc_dropout(fc2((4,), 3, width=40), blobs(), seed=0, draws=20, training=Training(40, 30, 1e-2))
    assert accuracy(ensemble, blobs(seed=1)) > 0.85
    assert ensemble.diagnostics.settings["rate"] == 0.2
    again = mc_dropout(Residual(), blobs(shape=(1, 6, 6)), seed=0, draws=3, training=SHORT)
    assert torch.isfinite(again.logits(blobs(shape=(1, 6, 6)).images)).all()


@pytest.mark.parametrize(
    ("network", "settings", "match"),
    [
        (fc2((4,), 3), {"rate": 1.0}, "rate must be below 1, got 1"),
        (fc2((4,), 3), {"rate": -0.1}, r"rate must lie in \[0, 1\]"),
        (fc2((4,), 3), {"draws": 0}, "draws must be"),
        (nn.Linear(4, 3), {}, "needs two linear maps or more"),
    ],
)
def test_bad_settings(network, settings, match):
    with pytest.raises(ValueError, match=match):
        mc_dropout(network, blobs(), seed=0, **settings)
