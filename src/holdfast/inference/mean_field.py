"""mean_field: variational inference with an independent Gaussian for every weight.

    q(w) = prod_j N(w_j; m_j, s_j^2),    ELBO = sum_i E_q[log p(y_i | x_i, w)] - T KL(q || prior)

(Graves 2011; Blundell et al. 2015, arXiv:1505.05424). The sum runs over the whole data set: a batch of B of the N
images stands for it with the factor N / B, which `Elbo` applies, so that the objective does not know the batch size.
The divergence is exact, sum_j [ (s_j^2 + m_j^2) / (2 p_j^2) - 1/2 - log(s_j / p_j) ] for prior deviations p_j, and the
expectation is estimated with low variance, see `holdfast.inference.noise`. T = 1 is Bayes' rule; T < 1 counts every
image 1 / T times.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.checks import check_range
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.noise import Estimator, WeightNoise
from holdfast.inference.priors import Prior, as_prior
from holdfast.inference.seeds import stream
from holdfast.inference.training import Training, check_problem, initial_weights, private_random_state, train

DEFAULT = Training(epochs=20, batch_size=128, schedule="plateau")


@dataclass(frozen=True)
class Elbo:
    """The evidence lower bound of a data set of `count` images, estimated from a batch of any size, in nats.

    >>> elbo = Elbo(count=1000)
    >>> one, two = torch.tensor([-0.5]), torch.tensor([-0.4, -0.6])
    >>> bool(elbo(one, torch.tensor(3.0)) == elbo(two, torch.tensor(3.0)))
    True
    """

    count: int
    temperature: float = 1.0

    def __call__(self, log_likelihoods: Tensor, divergence: Tensor) -> Tensor:
        """From the log likelihood of each image of a batch `[B]`, and the divergence of the whole posterior."""
        return self.count * log_likelihoods.mean() - self.temperature * divergence


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

    def sample(self, draws: int, *, seed: int) -> Ensemble:
        """Draw whole networks from the posterior."""
        if not isinstance(draws, int) or isinstance(draws, bool) or draws < 1:
            raise ValueError(f"MeanField.sample: draws must be a whole number of at least 1, got {draws!r}.")
        weights = {}
        for name, mean in self.mean.items():
            noise = torch.randn((draws, *mean.shape), generator=stream(seed, "draws", name), dtype=mean.dtype).to(
                mean.device
            )
            weights[name] = torch.addcmul(mean, self.deviation[name], noise)
        weights |= {k: v.expand(draws, *v.shape).clone() for k, v in self.fixed.items()}
        names = [k for k, _ in (*self.network.named_parameters(), *self.network.named_buffers())]
        return Ensemble(self.network, {k: weights[k] for k in names}, self.diagnostics)

    def divergence(self) -> float:
        """KL of the posterior from the prior, in nats."""
        logs = {k: (self.deviation[k].double() / self.prior[k]).log() for k in self.mean}
        return float(divergence({k: v.double() for k, v in self.mean.items()}, logs, self.prior))


def mean_field(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    prior: str | Prior = "fan_in",
    estimator: Estimator = "auto",
    temperature: float = 1.0,
    training: Training = DEFAULT,
) -> Ensemble:
    """Fit a mean-field posterior and draw an ensemble from it.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to train.
        seed: of the initial means, the batch order, the noise and the draws.
        draws: how many networks to draw.
        prior: "fan_in", "unit", `FanIn(...)` or `Isotropic(variance)`.
        estimator: "auto", "local" or "flipout", see `holdfast.inference.noise`.
        temperature: weight of the divergence; 1 is Bayes' rule.
        training: epochs, batch size, optimiser, learning rate and its schedule.

    Raises:
        ValueError: for data that do not fit the network, or settings out of range.
        FloatingPointError: where the loss stops being finite.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> len(mean_field(nn.Linear(2, 2), data, seed=0, draws=7, training=Training(epochs=2)))
    7
    """
    posterior = fit_mean_field(
        network, data, seed=seed, prior=prior, estimator=estimator, temperature=temperature, training=training
    )
    ensemble = posterior.sample(draws, seed=seed)
    diagnostics = posterior.diagnostics
    return replace(ensemble, diagnostics=replace(diagnostics, settings={**diagnostics.settings, "draws": draws}))


def fit_mean_field(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    prior: str | Prior = "fan_in",
    estimator: Estimator = "auto",
    temperature: float = 1.0,
    training: Training = DEFAULT,
    initial_ratio: float = 0.1,
    deviation_rate: float = 10.0,
) -> MeanField:
    """Fit a mean-field posterior and keep its means and deviations; arguments as in `mean_field`.

    Args:
        initial_ratio: posterior over prior deviation at the start.
        deviation_rate: learning rate of the log deviations, in units of that of the means.
    """
    call = "inference.mean_field"
    shell = check_problem(call, network, data)
    believed = as_prior(call, prior)
    if estimator not in ("auto", "local", "flipout"):
        raise ValueError(f"{call}: estimator must be 'auto', 'local' or 'flipout', got {estimator!r}.")
    check_range(call, "temperature", temperature, 0, math.inf, open_low=True)

    parameters, buffers = initial_weights(network, [seed], data)
    parameters, buffers = ({k: v[0] for k, v in part.items()} for part in (parameters, buffers))
    spread = {k: s for k, s in believed.deviations(network).items() if k not in _scales(network)}
    mean = {k: parameters[k].clone().requires_grad_() for k in spread}
    log_ratio = {k: torch.full_like(mean[k], math.log(initial_ratio)).requires_grad_() for k in spread}
    fixed = {k: v.clone().requires_grad_() for k, v in parameters.items() if k not in spread}
    elbo = Elbo(len(data), temperature)
    noise = stream(seed, "weight noise", device=data.images.device)
    curves: dict[str, list[float]] = {"divergence": []}

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        deviation = {k: r.exp() * spread[k] for k, r in log_ratio.items()}
        with WeightNoise(mean, deviation, estimator, noise):
            logits = functional_call(shell, {**mean, **fixed, **buffers}, (images[0],))
        likelihoods = -F.cross_entropy(logits, labels[0], reduction="none")
        return -elbo(likelihoods, divergence(mean, log_ratio, spread))[None] / len(data)

    def note(_: int) -> None:
        with torch.no_grad():
            curves["divergence"].append(float(divergence(mean, log_ratio, spread)) / len(data))

    groups = [([*mean.values(), *fixed.values()], 1.0), (list(log_ratio.values()), deviation_rate)]
    with private_random_state(seed, data.images.device):
        curve = train(call, groups, loss, data, training, [stream(seed, "order")], after_epoch=note)

    curves = {"loss": curve, **curves}
    settings = {
        "seed": seed,
        "prior": {"kind": type(believed).__name__, **asdict(believed)},
        "estimator": estimator,
        "temperature": temperature,
        "initial_ratio": initial_ratio,
        "deviation_rate": deviation_rate,
        **asdict(training),
    }
    ratios = {k: float(r.detach().exp().median()) for k, r in log_ratio.items()}
    summary = {
        "elbo_per_image": -curve[-1],
        "divergence_per_image": curves["divergence"][-1],
        "deviation_over_prior": ratios,
    }
    diagnostics = Diagnostics("mean_field", settings, summary, curves)
    return MeanField(
        skeleton(network),
        {k: v.detach() for k, v in mean.items()},
        {k: r.detach().exp() * spread[k] for k, r in log_ratio.items()},
        spread,
        {k: v.detach() for k, v in (*fixed.items(), *buffers.items())},
        diagnostics,
    )


def divergence(mean: Mapping[str, Tensor], log_ratio: Mapping[str, Tensor], prior: Mapping[str, float]) -> Tensor:
    """KL in nats of N(mean, (prior exp(log_ratio))^2) from N(0, prior^2), summed over all parameters."""
    total = 0.0
    for name, m in mean.items():
        r = log_ratio[name]
        total = total + 0.5 * ((2 * r).exp().sum() + (m / prior[name]).square().sum() - m.numel()) - r.sum()
    return total


def _scales(network: nn.Module) -> set[str]:
    """Vectors of normalisation layers: a Gaussian around zero is no sensible prior for a scale, they stay points."""
    norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, layer in network.named_modules()
        if isinstance(layer, norms)
        for name, _ in layer.named_parameters(recurse=False)
    }
