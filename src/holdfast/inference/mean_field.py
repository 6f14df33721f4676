"""mean_field: variational inference with an independent Gaussian for every weight.

    q(w) = prod_j N(w_j; m_j, s_j^2),    ELBO = sum_i E_q[log p(y_i | x_i, w)] - T KL(q || prior)

(Graves 2011; Blundell et al. 2015, arXiv:1505.05424). The sum runs over the whole data set: a batch of B of the N
images stands for it with the factor N / B, which `Elbo` applies, so that the objective does not know the batch size.
The divergence is exact, sum_j [ (s_j^2 + m_j^2) / (2 p_j^2) - 1/2 - log(s_j / p_j) ] for prior deviations p_j, and the
expectation is estimated with low variance, see `holdfast.inference.noise`. T = 1 is Bayes' rule; T < 1 counts every
image 1 / T times.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.checks import check_kind, check_range, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.elbo import Elbo, ratios_and_divergence, report
from holdfast.inference.fingerprint import data_of
from holdfast.inference.noise import Estimator, WeightNoise
from holdfast.inference.priors import Prior, as_prior, random_parameters, settings_of
from holdfast.inference.seeds import stream
from holdfast.inference.standardised import fit_standardised
from holdfast.inference.statistics import refresh_statistics
from holdfast.inference.training import (
    Training,
    Weights,
    categorical,
    check_count,
    check_problem,
    check_temperature,
    digest,
    initial_or_trained,
    private_random_state,
    train,
)

DISTANCE = 8.0  # learning rate times steps with which deviations reach those of the prior where the data say nothing


@dataclass(frozen=True)
class Start:
    """Where a mean-field fit begins, and how fast its deviations move.

    Attributes:
        mean: initial means in units of He-scaled weights.
        ratio: initial posterior over prior deviation; small, so that the network learns before the noise drowns it.
        deviation_rate: learning rate of the log variances, in units of that of the means; 2 moves the log deviations as
            fast as the means. Faster, the ELBO rises sooner, and more units are given up for good.

    >>> Start(ratio=0.2).deviation_rate
    2.0
    """

    mean: float = 1.0
    ratio: float = 0.1
    deviation_rate: float = 2.0

    def warnings(self, training: Training, count: int) -> tuple[str, ...]:
        """A sentence where the steps of a fit to `count` images are too few for the deviations to reach the prior's."""
        steps = math.ceil(count / training.batch_size) * training.epochs
        mean_rate = sum(training.rate(t / 100) for t in range(100)) / 100
        reach = 0.5 * self.deviation_rate * mean_rate * steps  # in their logarithm: Adam moves by the rate at most
        if reach >= -math.log(self.ratio):
            return ()
        return (
            f"The deviations began at {self.ratio:g} of the prior's and could grow by a factor of about "
            f"{math.exp(reach):.3g}: too little to reach it where the data say nothing; take more epochs.",
        )

    def __post_init__(self) -> None:
        check_range("Start", "mean", self.mean, 0, math.inf)
        check_range("Start", "ratio", self.ratio, 0, math.inf, open_low=True)
        check_range("Start", "deviation_rate", self.deviation_rate, 0, math.inf)


@dataclass(frozen=True, eq=False)
class MeanField:
    """A fitted Gaussian posterior with independent weights.

    Attributes:
        network: the architecture.
        mean, deviation: of every random parameter, by name.
        prior: prior standard deviation of every random parameter, by name.
        fixed: buffers and point-estimated parameters, by name.
        diagnostics: what the fit reported.
    """

    network: nn.Module
    mean: Mapping[str, Tensor]
    deviation: Mapping[str, Tensor]
    prior: Mapping[str, float]
    fixed: Mapping[str, Tensor]
    diagnostics: Diagnostics

    def sample(self, draws: int, *, seed: int, data: Split | None = None) -> Ensemble:
        """Draw whole networks from the posterior.

        Args:
            draws: how many.
            seed: of the draws.
            data: where the network has batch normalisation, the images over which the statistics of every draw are
                computed anew; None keeps those of the fit, which were collected under other draws.
        """
        check_count("MeanField.sample", "draws", draws)
        check_seed("MeanField.sample", seed)
        weights = {}
        for name, mean in self.mean.items():
            noise = torch.randn((draws, *mean.shape), generator=stream(seed, "draws", name), dtype=mean.dtype).to(
                mean.device
            )
            weights[name] = torch.addcmul(mean, self.deviation[name], noise)
        weights |= {k: v.expand(draws, *v.shape).clone() for k, v in self.fixed.items()}
        parameters = {k: weights[k] for k, _ in self.network.named_parameters()}
        buffers = {k: weights[k] for k, _ in self.network.named_buffers()}
        if data is not None:
            refresh_statistics(skeleton(self.network), parameters, buffers, data)
        return Ensemble(self.network, {**parameters, **buffers}, self.diagnostics)

    def divergence(self) -> float:
        """KL of the posterior from the prior, in nats."""
        total = 0.0
        for name, mean in self.mean.items():
            m, s = mean.double() / self.prior[name], self.deviation[name].double() / self.prior[name]
            total += float((0.5 * (s.square() + m.square() - 1) - s.log()).sum())
        return total


START = Start()


def mean_field(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    prior: str | Prior = "fan_in",
    estimator: Estimator = "auto",
    temperature: float = 1.0,
    training: Training | None = None,
    start: Start = START,
    initial: Ensemble | None = None,
    standardise: bool = True,
) -> Ensemble:
    """Fit a mean-field posterior and draw an ensemble from it.

    Vectors of normalisation layers stay point estimates: a Gaussian around zero is no sensible prior for a scale. The
    statistics of batch normalisation are computed anew for every draw.

    At temperature 1 most weights of a wide network go back to their prior, and their units out of use: the more, the
    fewer the images. The diagnostics show it. A fit that stops early looks more accurate, and is no posterior yet.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to train.
        seed: of the initial means, the batch order, the noise and the draws.
        draws: how many networks to draw.
        prior: "fan_in", "unit", `FanIn(...)` or `Isotropic(variance)`.
        estimator: "auto", "local" or "flipout", see `holdfast.inference.noise`.
        temperature: weight of the divergence; 1 is Bayes' rule. At others the fit is to likelihood^(1/T) x prior;
            chains (`hmc`, `sghmc`, `sgld`) raise the prior to the power 1 / T, too.
        training: epochs, batch size, optimiser, learning rate and its schedule; None for `mean_field_training`.
        start: initial scales, and the learning rate of the deviations.
        initial: a trained network for the initial means, in place of He-scaled ones.
        standardise: fit the posterior to images of mean 0 and variance 1, one mean and one deviation for all pixels,
            and let the first layer of the draws take up the change, see `holdfast.inference.standardised`. Done only
            where that is exact, and not with `initial`; the settings say which. Priors are those of the standardised
            inputs.

    Returns:
        the draws. Their diagnostics give the ELBO and its parts in nats per image, how much the ELBO still rose over
        the last third of the epochs, and the median posterior over prior deviation of every parameter.

    Raises:
        ValueError: for data that do not fit the network, or settings out of range.
        FloatingPointError: where the loss stops being finite.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> len(mean_field(nn.Linear(2, 2), data, seed=0, draws=7, training=Training(epochs=3)))
    7
    """
    call = "inference.mean_field"
    check_count(call, "draws", draws)

    def fit(shell: nn.Module) -> Ensemble:
        posterior = fit_mean_field(
            shell, data, seed=seed, prior=prior, estimator=estimator, temperature=temperature, training=training,
            start=start, initial=initial,
        )  # fmt: skip
        return posterior.sample(draws, seed=seed, data=data)

    ensemble = fit_standardised(call, network, data, standardise and initial is None, fit)
    diagnostics = ensemble.diagnostics
    return replace(ensemble, diagnostics=replace(diagnostics, settings={**diagnostics.settings, "draws": draws}))


def mean_field_training(count: int, *, epochs: int = 20, batch_size: int = 128) -> Training:
    """The default training of variational fits to `count` images: the learning rate falls with the number of steps.

    Deviations begin at a tenth of the prior's and must find their way back to it wherever the data say nothing, which
    takes a certain distance, learning rate times steps; a higher rate than that needs only makes the means noisier.

    >>> [round(mean_field_training(count).learning_rate, 5) for count in (600, 6000, 60_000)]
    [0.01, 0.00851, 0.00085]
    """
    check_count("inference.mean_field_training", "count", count)
    steps = math.ceil(count / batch_size) * epochs
    return Training(epochs=epochs, batch_size=batch_size, learning_rate=min(1e-2, DISTANCE / steps))


def fit_mean_field(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    prior: str | Prior = "fan_in",
    estimator: Estimator = "auto",
    temperature: float = 1.0,
    training: Training | None = None,
    start: Start = START,
    initial: Ensemble | None = None,
) -> MeanField:
    """Fit a mean-field posterior and keep its means and deviations; arguments as in `mean_field`.

    Args:
        network, data, seed, prior, estimator, temperature, training, start, initial: see `mean_field`.
    """
    call = "inference.mean_field"
    shell = check_problem(call, network, data)
    check_seed(call, seed)
    training = mean_field_training(len(data)) if training is None else training
    for name, value, kind in (("training", training, Training), ("start", start, Start)):
        check_kind(call, name, value, kind)
    believed = as_prior(call, prior)
    if estimator not in ("auto", "local", "flipout"):
        raise ValueError(f"{call}: estimator must be 'auto', 'local' or 'flipout', got {estimator!r}.")
    check_temperature(call, temperature)
    weights, buffers = initial_or_trained(call, network, [seed], data, initial)
    scale = random_parameters(network, believed)
    fixed = {k: v[0] for k, v in (*weights.items(), *buffers.items()) if k not in scale}
    mean = {k: start.mean * weights[k][0] for k in scale}
    elbo = Elbo(len(data), temperature)
    with private_random_state(seed, data.images.device):
        log_ratio, curves = optimise(shell, mean, fixed, scale, data, elbo, estimator, training, start, seed)
    settings = {"seed": seed, "prior": settings_of(believed), "estimator": estimator}
    settings |= {"data": data_of(data)}
    settings |= {"temperature": temperature, "start": asdict(start), **asdict(training), "initial": digest(initial)}
    deviation = {k: (0.5 * r).exp() * scale[k] for k, r in log_ratio.items()}
    summary, warnings = report(curves, {k: float(deviation[k].median()) / scale[k] for k in scale}, temperature)
    warnings += start.warnings(training, len(data))
    diagnostics = Diagnostics("mean_field", settings, summary, curves, warnings)
    return MeanField(skeleton(network), mean, deviation, scale, fixed, diagnostics)


def optimise(
    shell: nn.Module,
    mean: Weights,
    fixed: Weights,
    scale: Mapping[str, float],
    data: Split,
    elbo: Elbo,
    estimator: Estimator,
    training: Training,
    start: Start,
    seed: int,
    log_likelihood: Callable[[Tensor, Tensor], Tensor] = categorical,
) -> tuple[Weights, dict[str, list[float]]]:
    """Raise the ELBO in `mean`, in the trainable part of `fixed` and in the log variance ratios, which it returns."""
    log_ratio = {k: torch.full_like(m, 2 * math.log(start.ratio)) for k, m in mean.items()}
    trained = {**mean, **{k: v for k, v in fixed.items() if k in dict(shell.named_parameters())}}
    noise = stream(seed, "weight noise", device=data.images.device)
    curves: dict[str, list[float]] = {"elbo": [], "divergence": []}

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        ratio, divergence = ratios_and_divergence(mean, log_ratio, scale)
        with WeightNoise(mean, ratio, scale, estimator, noise):
            outputs = functional_call(shell, {**mean, **fixed}, (images[0],))
        return -elbo(log_likelihood(outputs, labels[0]), divergence)[None] / len(data)

    def note(_: int) -> None:
        with torch.no_grad():
            curves["divergence"].append(float(ratios_and_divergence(mean, log_ratio, scale)[1]) / len(data))

    for tensor in (*trained.values(), *log_ratio.values()):
        tensor.requires_grad_()
    groups = [(list(trained.values()), 1.0), (list(log_ratio.values()), start.deviation_rate)]
    try:
        order = [stream(seed, "order")]
        losses = train("inference.mean_field", groups, loss, data, training, order, after_epoch=note)
    finally:
        for tensor in (*trained.values(), *log_ratio.values()):
            tensor.requires_grad_(False)
    curves["elbo"] = [-value for value in losses]
    return log_ratio, curves
