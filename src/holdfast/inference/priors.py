"""Priors: how widely each weight is believed to lie around zero before any data are seen.

    w ~ N(0, s^2)      with s fixed for each parameter

"fan_in": hidden weights 2 / fan_in, output weights 16 / fan_in, biases 0.3^2, so that a draw from the prior gives
logits of a few units at every width (on standardised images 3 to 5). "unit": N(0, 1) on everything, the choice of
many published networks, which gives logits in the thousands. `Isotropic(v)`: one variance everywhere.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.checks import check_range
from holdfast.networks.filter_response import FilterResponseNorm
from holdfast.networks.initialise import Transposed, fan_in

ROWS = 5000  # images of which the covariance is added up at once


@dataclass(frozen=True)
class FanIn:
    """Variance `hidden / fan_in` for weights, `output / fan_in` for those of the last layer, `bias` for vectors.

    The last layer is the last weight matrix in the order in which the network defines its parameters.

    >>> deviations = FanIn().deviations(nn.Sequential(nn.Linear(200, 50), nn.Linear(50, 10)))
    >>> {name: round(d, 3) for name, d in deviations.items()}
    {'0.weight': 0.1, '0.bias': 0.3, '1.weight': 0.566, '1.bias': 0.3}
    """

    hidden: float = 2.0
    output: float = 16.0
    bias: float = 0.09

    def __post_init__(self) -> None:
        for name in ("hidden", "output", "bias"):
            check_range("FanIn", name, getattr(self, name), 0, math.inf, open_low=True)

    def deviations(self, network: nn.Module) -> dict[str, float]:
        """Prior standard deviation of every parameter, by name."""
        transposed = {
            f"{prefix}.weight".lstrip(".") for prefix, m in network.named_modules() if isinstance(m, Transposed)
        }
        found = {}
        matrices = [name for name, p in network.named_parameters() if p.ndim >= 2]
        for name, parameter in network.named_parameters():
            if parameter.ndim < 2:
                found[name] = math.sqrt(self.bias)
            else:
                numerator = self.output if name == matrices[-1] else self.hidden
                found[name] = math.sqrt(numerator / fan_in(parameter, transposed=name in transposed))
        return found


@dataclass(frozen=True)
class Isotropic:
    """One variance for every parameter.

    >>> Isotropic(0.25).deviations(nn.Linear(2, 1))
    {'weight': 0.5, 'bias': 0.5}
    """

    variance: float

    def __post_init__(self) -> None:
        check_range("Isotropic", "variance", self.variance, 0, math.inf, open_low=True)

    def deviations(self, network: nn.Module) -> dict[str, float]:
        """Prior standard deviation of every parameter, by name."""
        return {name: math.sqrt(self.variance) for name, _ in network.named_parameters()}


@dataclass(frozen=True)
class StudentT:
    """Heavy tails: each weight is t-distributed, with the variance that `base` gives it. Only `hmc` takes this prior.

    Fortuin et al. 2022 (arXiv:2102.06571) find such tails in the weights of trained fully connected networks.
    """

    degrees: float = 4.0
    base: FanIn | Isotropic = FanIn()

    def __post_init__(self) -> None:
        check_range("StudentT", "degrees", self.degrees, 2, math.inf, open_low=True)


@dataclass(frozen=True)
class EmpCov:
    """First layer `N(0, s^2 [(1 - ridge) C / mean variance + ridge I])`, C the covariance of its inputs.

    The weights of pixels that never change have next to no room, so that what is switched on there changes nothing
    (Izmailov et al. 2021, arXiv:2106.11905). The mean variance of the layer, and every other layer, are as in `base`.
    Only `hmc` takes this prior, for networks of linear layers.
    """

    ridge: float = 1e-4
    base: FanIn | Isotropic = FanIn()

    def __post_init__(self) -> None:
        check_range("EmpCov", "ridge", self.ridge, 0, 1, open_low=True)

    def root(self, inputs: Tensor) -> Tensor:
        """Symmetric root of the matrix in brackets, for inputs `[N, in]`."""
        mean = inputs.mean(0, dtype=torch.float64)
        covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=mean.device)
        for part in inputs.split(ROWS):  # a copy of all images in float64 would be the largest thing in memory
            apart = part.double() - mean
            covariance.addmm_(apart.T, apart, alpha=1 / len(inputs))
        covariance *= (1 - self.ridge) / covariance.diagonal().mean().clamp_min(1e-12)
        values, vectors = torch.linalg.eigh(covariance)
        return ((values.clamp_min(0) + self.ridge).sqrt() * vectors @ vectors.T).to(inputs.dtype)


Prior = FanIn | Isotropic
PRIORS: dict[str, Prior] = {"fan_in": FanIn(), "unit": Isotropic(1.0)}


def as_prior(call: str, prior: str | Prior) -> Prior:
    """A prior by its name, or as it came."""
    if isinstance(prior, str) and prior in PRIORS:
        return PRIORS[prior]
    if isinstance(prior, str) or not hasattr(prior, "deviations"):
        raise ValueError(
            f"{call}: prior must be {', '.join(map(repr, PRIORS))}, FanIn(...) or Isotropic(...), got {prior!r}."
        )
    return prior


def settings_of(prior: Prior) -> dict[str, Any]:
    """A prior as it is written into diagnostics."""
    return {"kind": type(prior).__name__, **asdict(prior)}


def random_parameters(network: nn.Module, prior: Prior) -> dict[str, float]:
    """Prior deviation of every parameter that is random, by name.

    Vectors of normalisation layers stay point estimates: a Gaussian around zero is no sensible prior for a scale.

    >>> list(random_parameters(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), Isotropic(1.0)))
    ['0.weight', '0.bias']
    """
    norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, FilterResponseNorm)
    points = {
        f"{prefix}.{name}".lstrip(".")
        for prefix, layer in network.named_modules()
        if isinstance(layer, norms)
        for name, _ in layer.named_parameters(recurse=False)
    }
    return {name: s for name, s in prior.deviations(network).items() if name not in points}


def described(prior: str | Prior | None) -> dict[str, Any] | None:
    """A prior by its name or as it came, as it is written into diagnostics."""
    return None if prior is None else settings_of(as_prior("described", prior))


def penalty(stacks: dict[str, Tensor], deviations: dict[str, float]) -> Tensor:
    """Negative log density, without its constants, of each set of weights in stacks `[S, ...]`: `[S]`."""
    return sum(v.flatten(1).square().sum(1) * (0.5 / deviations[name] ** 2) for name, v in stacks.items())


def log_density(parameters: dict[str, Tensor], deviations: dict[str, float]) -> Tensor:
    """Log density of a set of weights under the prior, in nats, with its constants; summed in float64."""
    total = 0.0
    for name, value in parameters.items():
        s = deviations[name]
        total = (
            total
            - 0.5 * (value.double() / s).square().sum()
            - value.numel() * (math.log(s) + 0.5 * math.log(2 * math.pi))
        )
    return total
