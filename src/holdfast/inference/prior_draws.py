"""prior_draws: networks drawn from the prior, before any data: the floor that a posterior must rise above.

    w ~ N(0, s^2)      with the deviations s of `holdfast.inference.priors`

A posterior whose draws behave like these has learnt nothing from the data.
"""

import torch
from torch import nn

from holdfast.checks import check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble
from holdfast.inference.priors import Prior, as_prior, random_parameters, settings_of
from holdfast.inference.seeds import stream
from holdfast.inference.training import as_ensemble, check_count, check_problem, initial_weights


def prior_draws(
    network: nn.Module, data: Split, *, seed: int, draws: int = 100, prior: str | Prior = "fan_in"
) -> Ensemble:
    """Draw networks from the prior.

    Vectors of normalisation layers, which have no prior here, are those of a fresh network.

    Args:
        network: the architecture; left as it is.
        data: only says where and in which type the weights should be, and is checked against the network.
        seed: of the draws.
        draws: how many networks to draw.
        prior: "fan_in", "unit", `FanIn(...)` or `Isotropic(variance)`.

    Raises:
        ValueError: for data that do not fit the network, or settings out of range.

    >>> data = Split(torch.rand(4, 2), torch.arange(4) % 2)
    >>> len(prior_draws(nn.Linear(2, 2), data, seed=0, draws=7))
    7
    """
    call = "inference.prior_draws"
    check_problem(call, network, data)
    check_seed(call, seed)
    check_count(call, "draws", draws)
    believed = as_prior(call, prior)
    parameters, buffers = initial_weights(network, [seed], data)
    parameters, buffers = ({k: v.expand(draws, *v.shape[1:]) for k, v in d.items()} for d in (parameters, buffers))
    for name, scale in random_parameters(network, believed).items():
        like = parameters[name]
        noise = torch.randn(like.shape, generator=stream(seed, "draws", name), dtype=like.dtype)
        parameters[name] = scale * noise.to(like.device)
    settings = {"seed": seed, "draws": draws, "prior": settings_of(believed)}
    ensemble = as_ensemble(network, parameters, buffers)
    return Ensemble(ensemble.network, ensemble.weights, Diagnostics("prior_draws", settings))
