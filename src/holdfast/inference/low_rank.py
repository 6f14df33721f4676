"""low_rank: variational inference with a Gaussian whose covariance is a diagonal plus a few directions.

    q(w) = N(m, s^2 o (diag(r) + U U^T)),    U with K columns

in units of the prior deviations s (Ong, Nott and Smith 2018, arXiv:1701.03208; Tomczak, Swaroop and Turner 2020). The
divergence from the prior is exact,

    KL = 1/2 [ sum_j (r_j + |U_j|^2 + m_j^2 / s_j^2 - 1 - log r_j) - log det(I + U^T diag(1 / r) U) ],

and a batch shares one draw of the K directions, while the diagonal part acts as in `holdfast.inference.mean_field`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.checks import check_kind, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.elbo import Elbo, ratios_and_divergence, report
from holdfast.inference.fingerprint import data_of
from holdfast.inference.mean_field import START, Start, mean_field_training
from holdfast.inference.noise import WeightNoise
from holdfast.inference.priors import Prior, as_prior, random_parameters, settings_of
from holdfast.inference.seeds import stream
from holdfast.inference.standardised import fit_standardised
from holdfast.inference.statistics import refresh_statistics
from holdfast.inference.training import (
    Training,
    Weights,
    as_ensemble,
    categorical,
    check_count,
    check_temperature,
    initial_weights,
    private_random_state,
    train,
)


def low_rank(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    rank: int = 4,
    prior: str | Prior = "fan_in",
    temperature: float = 1.0,
    training: Training | None = None,
    start: Start = START,
    standardise: bool = True,
) -> Ensemble:
    """Fit a low-rank plus diagonal posterior and draw an ensemble from it.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to train.
        seed: of the initial means and directions, the batch order, the noise and the draws.
        draws: how many networks to draw.
        rank: K, how many directions.
        prior: "fan_in", "unit", `FanIn(...)` or `Isotropic(variance)`.
        temperature: weight of the divergence; 1 is Bayes' rule. At others the fit is to likelihood^(1/T) x prior;
            chains (`hmc`, `sghmc`, `sgld`) raise the prior to the power 1 / T, too.
        training: epochs, batch size, optimiser, learning rate and its schedule; None for `mean_field_training`.
        start: initial scales, and the learning rate of the deviations.
        standardise: fit to images of mean 0 and variance 1, as `mean_field` does.

    Raises:
        ValueError: for data that do not fit the network, or settings out of range.
        FloatingPointError: where the loss stops being finite.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> len(low_rank(nn.Linear(2, 2), data, seed=0, draws=7, rank=2, training=Training(epochs=3)))
    7
    """
    call = "inference.low_rank"
    for name, value in (("draws", draws), ("rank", rank)):
        check_count(call, name, value)
    check_seed(call, seed)
    check_temperature(call, temperature)
    check_kind(call, "start", start, Start)
    if training is not None:
        check_kind(call, "training", training, Training)
    believed = as_prior(call, prior)

    def fit(shell: nn.Module) -> Ensemble:
        settled = mean_field_training(len(data)) if training is None else training
        return _fit(shell, data, seed, draws, rank, believed, temperature, settled, start)

    return fit_standardised(call, network, data, standardise, fit)


def _fit(
    network: nn.Module,
    data: Split,
    seed: int,
    draws: int,
    rank: int,
    believed: Prior,
    temperature: float,
    training: Training,
    start: Start,
) -> Ensemble:
    shell = skeleton(network).train()
    weights, buffers = initial_weights(network, [seed], data)
    scale = random_parameters(network, believed)
    fixed = {k: v[0] for k, v in (*weights.items(), *buffers.items()) if k not in scale}
    mean = {k: start.mean * weights[k][0] for k in scale}
    elbo = Elbo(len(data), temperature)
    with private_random_state(seed, data.images.device):
        log_ratio, directions, curves = optimise(shell, mean, fixed, scale, data, elbo, rank, training, start, seed)

    drawn = {k: v.expand(draws, *v.shape) for k, v in fixed.items()} | sample(
        mean, log_ratio, directions, scale, draws, seed
    )
    parts = {k: drawn[k] for k in weights}, {k: drawn[k].clone() for k in buffers}
    refresh_statistics(skeleton(network), *parts, data)
    spread = {k: (log_ratio[k].exp() + directions[k].square().sum(0)).sqrt() for k in scale}
    summary, warnings = report(curves, {k: float(v.median()) for k, v in spread.items()}, temperature)
    warnings += start.warnings(training, len(data))
    share = {k: float(directions[k].square().sum() / spread[k].square().sum()) for k in scale}
    settings = {"seed": seed, "draws": draws, "rank": rank, "prior": settings_of(believed), "temperature": temperature}
    settings |= {"data": data_of(data)}
    settings |= {"start": asdict(start), **asdict(training)}
    summary |= {"share_of_variance_in_directions": share}
    diagnostics = Diagnostics("low_rank", settings, summary, curves, warnings)
    return replace(as_ensemble(network, *parts), diagnostics=diagnostics)


def optimise(
    shell: nn.Module,
    mean: Weights,
    fixed: Weights,
    scale: Mapping[str, float],
    data: Split,
    elbo: Elbo,
    rank: int,
    training: Training,
    start: Start,
    seed: int,
    log_likelihood: Callable[[Tensor, Tensor], Tensor] = categorical,
) -> tuple[Weights, Weights, dict[str, list[float]]]:
    """Raise the ELBO in `mean`, in the trainable part of `fixed`, in the log variance ratios and in the directions.

    Returns:
        log variance ratios, directions `[rank, ...]` for each parameter, and the curves of ELBO and divergence.
    """
    log_ratio = {k: torch.full_like(m, 2 * math.log(start.ratio)) for k, m in mean.items()}
    directions = {}
    for name, m in mean.items():
        noise = torch.randn((rank, *m.shape), generator=stream(seed, "directions", name), dtype=m.dtype).to(m.device)
        directions[name] = 0.1 * start.ratio * noise
    trained = {**mean, **{k: v for k, v in fixed.items() if k in dict(shell.named_parameters())}}
    every = (*trained.values(), *log_ratio.values(), *directions.values())
    noise = stream(seed, "weight noise", device=data.images.device)
    curves: dict[str, list[float]] = {"elbo": [], "divergence": []}

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        ratio, diagonal = ratios_and_divergence(mean, log_ratio, scale)
        total = diagonal + divergence_of_directions(ratio, directions)
        along = torch.randn(rank, generator=noise, dtype=images.dtype, device=images.device)
        moved = {k: m + scale[k] * torch.tensordot(along, directions[k], 1) for k, m in mean.items()}
        with WeightNoise(moved, ratio, scale, "auto", noise):
            outputs = functional_call(shell, {**moved, **fixed}, (images[0],))
        return -elbo(log_likelihood(outputs, labels[0]), total)[None] / len(data)

    def note(_: int) -> None:
        with torch.no_grad():
            ratio, diagonal = ratios_and_divergence(mean, log_ratio, scale)
            curves["divergence"].append(float(diagonal + divergence_of_directions(ratio, directions)) / len(data))

    for tensor in every:
        tensor.requires_grad_()
    groups = [([*trained.values(), *directions.values()], 1.0), (list(log_ratio.values()), start.deviation_rate)]
    try:
        order = [stream(seed, "order")]
        losses = train("inference.low_rank", groups, loss, data, training, order, after_epoch=note)
    finally:
        for tensor in every:
            tensor.requires_grad_(False)
    curves["elbo"] = [-value for value in losses]
    return log_ratio, directions, curves


def divergence_of_directions(ratio: Mapping[str, Tensor], directions: Mapping[str, Tensor]) -> Tensor:
    """What the directions add to the divergence of the diagonal part, in nats."""
    length, gram = 0.0, 0.0
    for name, u in directions.items():
        flat = u.flatten(1)
        length = length + flat.square().sum()
        with torch.autocast(flat.device.type, enabled=False):  # the divergence is exact whatever the products are
            gram = gram + (flat / ratio[name].flatten()) @ flat.T
    return 0.5 * (length - torch.linalg.slogdet(gram + torch.eye(len(gram)).to(gram))[1])


def sample(
    mean: Mapping[str, Tensor],
    log_ratio: Mapping[str, Tensor],
    directions: Mapping[str, Tensor],
    scale: Mapping[str, float],
    draws: int,
    seed: int,
) -> Weights:
    """Draws `[draws, ...]` of every random parameter."""
    rank = len(next(iter(directions.values())))
    along = torch.randn((draws, rank), generator=stream(seed, "draws", "directions"), dtype=torch.float64)
    drawn = {}
    for name, m in mean.items():
        own = torch.randn((draws, *m.shape), generator=stream(seed, "draws", name), dtype=m.dtype).to(m.device)
        low_rank_part = torch.tensordot(along.to(m), directions[name], 1)
        drawn[name] = m + scale[name] * ((0.5 * log_ratio[name]).exp() * own + low_rank_part)
    return drawn
