"""sgd: one network, trained by stochastic gradients.

    w* = argmin_w  1/N [ sum_i -log p(y_i | x_i, w) - log prior(w) ]

by Adam (Kingma and Ba 2015, arXiv:1412.6980) or gradient descent with momentum. Without a prior this is maximum
likelihood, with one it is the maximum of the posterior (MAP).
"""

from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from holdfast.checks import check_kind, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.inference.fingerprint import data_of
from holdfast.inference.priors import Prior, as_prior, described, penalty, random_parameters
from holdfast.inference.seeds import stream
from holdfast.inference.training import (
    Training,
    as_ensemble,
    check_problem,
    cross_entropy,
    digest,
    initial_or_trained,
    member_logits,
    private_random_state,
    train,
)
from holdfast.progress import track

DEFAULT = Training(epochs=15)


def sgd(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    prior: str | Prior | None = None,
    training: Training = DEFAULT,
    initial: Ensemble | None = None,
) -> Ensemble:
    """Train one network: an ensemble of one.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to train.
        seed: of the initial weights, of the batch order and of layers that draw random numbers.
        prior: "fan_in", "unit", `FanIn(...)` or `Isotropic(variance)` for the maximum of the posterior; None for none.
        training: epochs, batch size, optimiser, learning rate and its schedule.
        initial: a trained network to go on from, in place of He-scaled weights.

    Raises:
        ValueError: for data that do not fit the network.
        FloatingPointError: where the loss stops being finite.

    >>> import torch
    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> len(sgd(nn.Linear(2, 2), data, seed=0, training=Training(epochs=2)))
    1
    """
    check_seed("inference.sgd", seed)
    ensemble, curve = train_members("inference.sgd", network, data, [seed], training, prior, initial)
    settings = {"seed": seed, "prior": described(prior), **asdict(training), "initial": digest(initial)}
    settings |= {"data": data_of(data)}
    diagnostics = Diagnostics("sgd", settings, {"final_loss": curve[-1]}, {"loss": curve})
    return replace(ensemble, diagnostics=diagnostics)


def train_members(
    call: str,
    network: nn.Module,
    data: Split,
    seeds: list[int],
    training: Training,
    prior: str | Prior | None,
    initial: Ensemble | None = None,
) -> tuple[Ensemble, list[float]]:
    """Train one member for each seed; gives the ensemble and the mean loss of each epoch.

    All take their steps together, but for networks that convolve on a CPU: those gain nothing by it, hold all
    activations at once, and lose half of the time to page faults where `holdfast.machine.tune` was not called.
    """
    check_kind(call, "training", training, Training)
    shell = check_problem(call, network, data)
    if len(seeds) > 1 and initial is None and data.images.device.type == "cpu" and _convolves(network):
        fits = [train_members(call, network, data, [s], training, prior) for s in track(seeds, "members")]
        weights = {k: torch.cat([e.weights[k] for e, _ in fits]) for k in fits[0][0].weights}
        return Ensemble(fits[0][0].network, weights), [sum(c) / len(c) for c in zip(*(c for _, c in fits), strict=True)]
    scale = {} if prior is None else random_parameters(network, as_prior(call, prior))
    parameters, buffers = initial_or_trained(call, network, seeds, data, initial)
    for p in parameters.values():
        p.requires_grad_()

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        fit = cross_entropy(member_logits(shell, {**parameters, **buffers}, images), labels)
        return fit + penalty({k: parameters[k] for k in scale}, scale) / len(data) if scale else fit

    with private_random_state(seeds[0], data.images.device):
        groups = [(list(parameters.values()), 1.0)]
        curve = train(call, groups, loss, data, training, [stream(s, "order") for s in seeds])
    return as_ensemble(network, parameters, buffers), curve


def _convolves(network: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) for layer in network.modules())
