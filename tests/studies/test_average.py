"""Averages of vectors over draws: closed forms, and what no number of draws should change."""

import torch
from torch import nn

from holdfast.ensemble import Ensemble
from holdfast.studies.averaging import VECTORS, Average, LogPredictive


def averaged(vectors: torch.Tensor) -> dict[str, torch.Tensor]:
    """Columns of draws `[S, B, F]`."""
    average = Average()
    for v in vectors:
        average.add(v)
    return average.columns()


def test_one_vector_for_all_draws_is_left_whole():
    v = torch.tensor([[3.0, 4.0]]).expand(7, 1, 2)
    found = averaged(v)
    for name in ("expected_l2", "single_l2"):
        assert torch.allclose(found[name], torch.tensor([5.0]).double())
    assert torch.allclose(found["remaining"], torch.ones(1).double())
    assert torch.allclose(found["agreement"], torch.ones(1).double())


def test_opposite_vectors_cancel():
    v = torch.tensor([[[1.0, 2.0]], [[-1.0, -2.0]]])
    found = averaged(v)
    assert float(found["expected_l2"]) == 0
    assert float(found["zero_components"]) == 1
    assert torch.allclose(found["agreement"], -torch.ones(1).double())  # two draws: their cosine
    assert float(found["silent"]) == 0


def test_zero_vectors_are_silent_and_no_cancellation():
    v = torch.zeros(5, 1, 3)
    v[0] = torch.tensor([1.0, 0.0, 0.0])
    found = averaged(v)
    assert torch.allclose(found["silent"], torch.tensor([0.8]).double())
    assert torch.isnan(found["agreement"]).all()
    assert torch.isnan(averaged(torch.zeros(5, 1, 3))["remaining"]).all()


def test_remaining_and_agreement_do_not_depend_on_the_number_of_draws():
    """Mean m, variance 1 in each of F components: |E v|^2 / E |v|^2 = |m|^2 / (|m|^2 + F), at any n."""
    generator = torch.Generator().manual_seed(0)
    size, images = 8, 4000
    mean = torch.full((size,), 0.5)
    truth = float(mean.square().sum() / (mean.square().sum() + size))
    for draws in (2, 5, 20):
        v = mean + torch.randn(draws, images, size, generator=generator)
        columns = averaged(v)
        ratio = columns["remaining"] * columns["single_square"]  # unbiased in the numerator: ratio of the means
        assert abs(float(ratio.mean() / columns["single_square"].mean()) - truth) < 0.01
        cosine = torch.nn.functional.cosine_similarity(v[0], v[1]).mean()
        assert abs(float(columns["agreement"].mean() - cosine)) < 0.02
    shrunk = [float(averaged(torch.randn(n, images, size, generator=generator))["expected_l2"].mean()) for n in (4, 16)]
    assert abs(shrunk[0] / shrunk[1] - 2) < 0.1  # a mean shrinks like n^(-1/2) where the truth is zero


def test_gradients_of_a_linear_network_are_those_of_the_formula():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    draw = Ensemble.from_networks(network)
    x, y = torch.rand(5, 1, 2, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    w, p = network[1].weight.detach(), draw.logits(x)[0].softmax(-1)
    onehot = torch.nn.functional.one_hot(y, 3).double()
    found = VECTORS["loss"](draw, x, y, y, 10**9)
    assert torch.allclose(found, (p - onehot) @ w, atol=1e-12)
    assert torch.allclose(VECTORS["logit"](draw, x, y, y, 10**9), (onehot - 1 / 3) @ w, atol=1e-12)
    q = p.softmax(-1)
    pulled = torch.einsum("bc,bcd->bd", q - onehot, torch.diag_embed(p) - p[:, :, None] * p[:, None])
    assert torch.allclose(VECTORS["double_softmax"](draw, x, y, y, 10**9), pulled @ w, atol=1e-12)
    contribution = x.flatten(1) * w[y]  # epsilon-LRP of a linear layer, up to its stabiliser
    ratio = VECTORS["lrp"](draw, x, y, y, 10**9) / contribution
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-9)


def test_loss_gradients_of_sure_draws_are_kept_where_float32_has_none():
    network = nn.Linear(2, 2, bias=False)
    network.weight.data = torch.tensor([[200.0, 0.0], [0.0, 0.0]])
    draw, x, y = Ensemble.from_networks(network), torch.ones(1, 2), torch.tensor([0])
    leaf = x.clone().requires_grad_()
    ordinary = torch.autograd.grad(torch.nn.functional.cross_entropy(network(leaf), y), leaf)[0]
    assert float(ordinary.abs().max()) == 0
    found = VECTORS["loss"](draw, x, y, y, 10**9)
    assert torch.allclose(
        found, torch.tensor([[-200.0, 0.0]]).double() * torch.tensor(-200.0).double().exp(), rtol=1e-6
    )


def test_gradient_of_the_average_agrees_with_autograd():
    torch.manual_seed(1)
    networks = [nn.Linear(4, 3).double() for _ in range(5)]
    for network in networks:
        network.weight.data *= 5
    ensemble = Ensemble.from_networks(networks)
    x, y = torch.rand(6, 4, dtype=torch.float64), torch.arange(6) % 3
    together = LogPredictive()
    for s in range(5):
        log_p = ensemble[s].logits(x)[0].log_softmax(-1).gather(-1, y[:, None])[:, 0]
        together.add(VECTORS["loss"](ensemble[s], x, y, y, 10**9), log_p)
    leaf = x.clone().requires_grad_()
    log = ensemble.call(leaf).log_softmax(-1).logsumexp(0)
    expected = torch.autograd.grad(-log.gather(-1, y[:, None]).sum(), leaf)[0]
    assert torch.allclose(together.gradient, expected, atol=1e-10)


def test_pairs_within_a_chain_do_not_count():
    """Two chains of draws that stand still: within a chain the cosine is 1, between them 0."""
    average = Average()
    for chain, v in ((0, [1.0, 0.0]), (0, [2.0, 0.0]), (1, [0.0, 1.0]), (1, [0.0, 3.0])):
        average.add(torch.tensor([v]), chain)
    assert float(average.columns()["agreement"]) == 0
    assert float(average.columns()["remaining"]) == 0
    alone = Average()
    for _ in range(3):
        alone.add(torch.ones(1, 2), 0)
    assert torch.isnan(alone.columns()["agreement"]).all()
