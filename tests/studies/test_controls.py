"""Controls: SmoothGrad as an ensemble: its maps, its predictions, what an attack on it sees, its file."""

import pytest
import torch
from torch import nn

from holdfast import attacks
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.explanations import AlphaBeta, Epsilon, Gamma, lrp, saliency, strongest_units
from holdfast.networks import conv, fc2, normalised
from holdfast.studies.codecs import BankCodec
from holdfast.studies.controls import smooth_grad

NETWORKS = {
    "fc2": lambda: fc2((1, 8, 8), 3, width=9, seed=1),
    "normalised conv": lambda: normalised(conv((1, 16, 16), 3, width=4, seed=1), 0.3, 0.2),
}


def problem(name="fc2", copies=4):
    network = NETWORKS[name]()
    side = 16 if "conv" in name else 8
    x = torch.rand(3, 1, side, side, generator=torch.Generator().manual_seed(0))
    x[:, :, :2] = 0  # a background, as in MNIST
    noisy = smooth_grad(Ensemble.from_networks(network), copies=copies, spread=0.2, seed=5)
    return network.eval(), noisy, x, noisy.weights["shift.shift"]


@pytest.mark.parametrize("rule", [Epsilon(), Gamma(), AlphaBeta()], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("name", NETWORKS)
def test_its_maps_are_those_of_the_network_at_the_noisy_images(name, rule):
    network, noisy, x, noise = problem(name)
    maps = lrp(noisy, x, 1, rule=rule)
    single = torch.cat([lrp(network, x + n, 1, rule=rule) for n in noise])
    torch.testing.assert_close(maps, single)
    assert maps[:, :, :, :2].abs().max() > 0  # the background of a noisy image is not empty


def test_the_strongest_unit_of_a_layer_is_that_of_the_noisy_image():
    network, noisy, x, noise = problem()
    layer = [n for n, m in network.named_modules() if isinstance(m, nn.Linear)][1]
    units = strongest_units(noisy, x, f"network.{layer}")
    assert torch.equal(units, torch.cat([strongest_units(network, x + n, layer) for n in noise]))
    maps = lrp(noisy, x, units, layer=f"network.{layer}", view="unit")
    single = torch.cat([lrp(network, x + n, u[None], layer=layer, view="unit") for n, u in zip(noise, units)])
    torch.testing.assert_close(maps, single)


def test_the_mean_of_gradients_is_smooth_grad_and_noise_has_the_size_that_was_asked_for():
    network, noisy, x, noise = problem(copies=300)
    torch.testing.assert_close(saliency(noisy, x, 1), torch.cat([saliency(network, x + n, 1) for n in noise]))
    assert float(noise.std()) == pytest.approx(0.2, rel=0.02)
    assert abs(float(noise.mean())) < 0.01


def test_an_attack_sees_the_average_over_the_copies():
    network, noisy, x, noise = problem()
    y = noisy.predict(x)
    images = x.clone().requires_grad_()
    average = torch.stack([network(images + n).softmax(-1) for n in noise]).mean(0)
    (gradient,) = torch.autograd.grad(average.log().gather(1, y[:, None]).sum(), images)
    torch.testing.assert_close(noisy.log_predictive(x), average.detach().log())
    attacked = attacks.fgsm(noisy, x, y, budget=Budget("linf", 0.05), objective="cross_entropy").images[0]
    assert torch.equal(attacked, (x - 0.05 * gradient.sign()).clamp(0, 1))


def test_an_attack_on_its_maps_finds_its_way_through_the_noise():
    _, noisy, x, _ = problem()
    images = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(lrp(noisy, images, 1, create_graph=True).mean(0)[:, :, :2].sum(), images)
    assert (gradient != 0).flatten(1).any(1).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_it_can_be_written_and_read_back(name, tmp_path):
    _, noisy, x, _ = problem(name)
    BankCodec().write(tmp_path / "noisy.safetensors", noisy)
    again = BankCodec().read(tmp_path / "noisy.safetensors")
    assert torch.equal(again.logits(x), noisy.logits(x))
    assert again.diagnostics.settings == {"copies": 4, "spread": 0.2, "seed": 5}


def test_draws_of_an_ensemble_share_the_noise_and_stand_together():
    two = Ensemble.from_networks([fc2((1, 8, 8), 3, width=9, seed=s) for s in (1, 2)])
    noisy = smooth_grad(two, copies=3, seed=2)
    assert len(noisy) == 6
    assert torch.equal(noisy.weights["shift.shift"][:3], noisy.weights["shift.shift"][3:])
    alone = smooth_grad(two[1], copies=3, seed=2)
    assert all(torch.equal(noisy[3:].weights[k], v) for k, v in alone.weights.items())


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="smooth_grad: the network has no recipe that says the shape of an image"):
        smooth_grad(Ensemble.from_networks(nn.Linear(3, 2)))
    with pytest.raises(ValueError, match=r"smooth_grad: copies must lie in \[1"):
        smooth_grad(problem()[1], copies=0)
