"""Variational inference as released: a likelihood weighed by B / N, and a start among logits in the thousands.

    minimise  E_q [ -sum_{i in batch} log p(y_i | x_i, w) ] + KL(q, N(0, 1))   in every step,   q = N(m, softplus(r)^2)

with m and r drawn from N(0, 1), one weight sample a step for expectation and KL together, Adam. Released with both
papers (arXiv:2102.11010, arXiv:2002.04359). What is wrong with it:

- The sum runs over the batch of B images and is not scaled by N / B, while the whole KL is counted in every step: the
  likelihood has the exponent B / N, for MNIST in batches of 128 it is a posterior at temperature 469, near the prior.
- Weights start at deviations of about 0.8 with a N(0, 1) prior whatever the width, so logits are of order 10^3, softmax
  is saturated, and float32 gradients in the images are exactly zero for most draws: attacks fail for that reason.
- The expectation is of one weight sample for the whole batch and the KL a sampled one: after the 5 to 15 epochs of the
  release the fit is far from its own optimum.

`holdfast.inference.mean_field` is right.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.checks import check_count, check_range
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.progress import track


def hot_variational(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    epochs: int = 5,
    learning_rate: float = 0.01,
    batch_size: int = 128,
) -> Ensemble:
    """The released fit and draws from it. For comparison only.

    >>> data = Split(torch.rand(32, 1, 2, 2), torch.arange(32) % 3)
    >>> ensemble = hot_variational(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), data, seed=0, draws=5, epochs=1)
    >>> len(ensemble), ensemble.diagnostics.summary["temperature"]
    (5, 1.0)
    """
    for name, value in dict(draws=draws, epochs=epochs, batch_size=batch_size).items():
        check_count("hot_variational", name, value)
    check_range("hot_variational", "learning_rate", learning_rate, 0, 1e3, open_low=True)
    g = torch.Generator().manual_seed(seed)
    normal = lambda like: torch.randn(like.shape, generator=g, dtype=like.dtype)
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    buffers = {name: b.detach() for name, b in network.named_buffers()}
    mean, raw = ({name: normal(p).requires_grad_() for name, p in parameters.items()} for _ in range(2))
    adam = torch.optim.Adam([*mean.values(), *raw.values()], lr=learning_rate)
    shell, losses = skeleton(network), []
    for _ in track(range(epochs), "variational inference as released"):
        order, total = torch.randperm(len(data), generator=g), 0.0
        for rows in order.split(batch_size):
            weights = {name: mean[name] + F.softplus(raw[name]) * normal(mean[name]) for name in mean}
            logits = functional_call(shell, {**weights, **buffers}, (data.images[rows],))
            divergence = sum(_log_ratio(weights[name], mean[name], F.softplus(raw[name])) for name in mean)
            loss = F.cross_entropy(logits, data.labels[rows], reduction="sum") + divergence
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item()
        losses.append(total / len(data))
    with torch.no_grad():
        stacks = {
            name: m + F.softplus(raw[name]) * torch.randn((draws, *m.shape), generator=g, dtype=m.dtype)
            for name, m in mean.items()
        }
        stacks |= {name: b.expand(draws, *b.shape).clone() for name, b in buffers.items()}
    settings = dict(seed=seed, draws=draws, epochs=epochs, learning_rate=learning_rate, batch_size=batch_size)
    summary = {"temperature": max(1.0, len(data) / batch_size), "loss": losses[-1]}
    return Ensemble(shell, stacks, Diagnostics("hot_variational", settings, summary, {"loss": losses}))


def _log_ratio(w: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """`log q(w) - log p(w)`, summed."""
    return (0.5 * w.square() - 0.5 * ((w - mean) / deviation).square() - deviation.log()).sum()
