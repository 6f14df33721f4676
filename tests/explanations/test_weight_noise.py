"""NoiseGrad and FusionGrad: the noise itself, its mean on a linear network, seeds."""

import pytest
import torch
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.fusion_grad import fusion_grad
from holdfast.explanations.noise_grad import noise_grad
from holdfast.explanations.saliency import saliency
from holdfast.explanations.smooth_grad import smooth_grad


def network(seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).double()
    with torch.no_grad():
        made[1].running_mean.normal_()
    return made.eval()


def test_parameters_are_multiplied_and_buffers_kept():
    noisy = noise_grad(network(), copies=4000, spread=0.3)
    factors = noisy.weights["0.weight"] / network()[0].weight.detach()
    assert abs(float(factors.mean()) - 1) < 5 * 0.3 / factors.numel() ** 0.5
    assert float(factors.std()) == pytest.approx(0.3, rel=0.01)
    assert float(torch.corrcoef(factors.flatten(1).T)[0, 1]) == pytest.approx(0, abs=0.08)
    assert torch.equal(noisy.weights["1.running_mean"], network()[1].running_mean.expand(4000, 8))
    assert noisy.weights["1.num_batches_tracked"].dtype == torch.int64
    assert noisy.diagnostics.method == "noise_grad"
    assert noisy.diagnostics.settings == {"copies": 4000, "spread": 0.3, "seed": 0}


def test_draws_share_the_noise_and_stand_together():
    ensemble = Ensemble.from_networks([network(0), network(1)])
    noisy = noise_grad(ensemble, copies=3, seed=7)
    assert len(noisy) == 6
    for name, weight in ensemble.weights.items():
        copies = noisy.weights[name].unflatten(0, (2, 3))
        if weight.is_floating_point() and "running" not in name and "1.bias" not in name:
            torch.testing.assert_close(copies[0] / weight[0], copies[1] / weight[1])
    torch.testing.assert_close(noisy[3:].weights, noise_grad(network(1), copies=3, seed=7).weights)
    assert not torch.equal(noisy.weights["0.bias"], noise_grad(ensemble, copies=3, seed=8).weights["0.bias"])


def test_no_noise_is_the_network_itself():
    plain, x = network(), torch.rand(4, 5).double()
    torch.testing.assert_close(noise_grad(plain, copies=2, spread=0.0)[1].logits(x), plain.eval()(x)[None].detach())
    torch.testing.assert_close(fusion_grad(plain, x, 1, spread=0.0, weight_spread=0.0), saliency(plain, x, 1))
    torch.testing.assert_close(
        fusion_grad(plain, x, 1, spread=0.0, weight_copies=5, seed=3),
        saliency(noise_grad(plain, copies=5, seed=3), x, 1).mean(0, keepdim=True),
    )


def test_fusion_is_the_mean_over_both_noises():
    ensemble, x = Ensemble.from_networks([network(0), network(1)]), torch.rand(4, 5).double()
    maps = fusion_grad(ensemble, x, 1, weight_copies=200, copies=20, spread=0.5)
    assert maps.shape == (2, 4, 5)
    other = fusion_grad(ensemble, x, 1, weight_copies=200, copies=20, spread=0.5, seed=1)
    noisy = noise_grad(ensemble, copies=200, seed=2)
    wanted = smooth_grad(noisy, x, 1, copies=20, spread=0.5, seed=9).unflatten(0, (2, 200)).mean(1)
    size = (maps - other).abs().mean()
    assert 0 < size < 0.05 * maps.abs().mean()
    assert (maps - wanted).abs().mean() < 3 * size
    assert torch.equal(fusion_grad(ensemble, x, 1, weight_copies=200, copies=20, spread=0.5), maps)


def test_fusion_of_the_average_is_one_map_through_which_gradients_flow():
    ensemble, x = Ensemble.from_networks([network(0), network(1)]), torch.rand(2, 5).double().requires_grad_()
    settings = dict(of="log_predictive", weight_copies=2, copies=2)
    loss = lambda t: fusion_grad(ensemble, t, 1, create_graph=True, **settings).square().sum()
    assert fusion_grad(ensemble, x, 1, **settings).shape == (1, 2, 5)
    torch.autograd.gradcheck(loss, x)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="noise_grad: copies must be an integer of at least 1, got 0"):
        noise_grad(network(), copies=0)
    with pytest.raises(ValueError, match="fusion_grad: spread must lie in"):
        fusion_grad(network(), torch.rand(1, 5).double(), weight_spread=-0.1)
    with pytest.raises(TypeError, match=r"noise_grad: expected an Ensemble or a torch\.nn\.Module"):
        noise_grad("network")
