"""Mixing: do the chains agree on what the networks compute, and how well do the draws determine its mean?

For each scalar function of a draw (a class probability of an image, the relevance of a pixel):

    R-hat   split, rank-normalised, the larger of bulk and tail; 1 where all halves of all chains look alike
    ESS     bulk effective sample size
    MCSE    Monte Carlo standard error of the mean over the draws

Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021 (arXiv:1903.08008), as `arviz-stats` computes them. Independent
draws have no chains: no R-hat, an ESS of their number and an MCSE of sd / sqrt(S). A function that has one value for
all draws (the relevance of a black pixel) says nothing of mixing: such functions are counted and left out.

Weights of networks never mix, since hidden units can be exchanged; the functions they compute may (Izmailov et al.
2021, arXiv:2104.14421). So the verdict is about functions:

    mixed in function space        90 % of the R-hats below 1.05 and 99 % below 1.2, 90 % of the ESS at least 100
    partly mixed                   90 % of the R-hats below 1.2, 90 % of the ESS at least 100
    ensemble of K local chains     otherwise, and wherever R-hat cannot be had

R-hat compares the means of half chains, and with less than 25 independent draws in each of four halves it misses 1.05
by chance: chains of four draws each, one standard deviation apart, had smaller ones in 60 of 200 trials.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from holdfast.diagnostics.chains import by_chain

LEVELS = (0.5, 0.9, 0.99)
GOOD, FAIR = 1.05, 1.2
ENOUGH = 100.0  # effective draws below which R-hat is no evidence
LEAST = 4  # draws of a chain below which R-hat, ESS and MCSE are not defined
MIXED, PARTLY, LOCAL = "mixed in function space", "partly mixed", "ensemble of"
INDEPENDENT, ONE = "independent draws", "one network"


@dataclass(frozen=True, eq=False)
class Mixing:
    """What is known of a family of scalar functions.

    Attributes:
        functions: how many there are.
        constant: how many of them have one value for all draws.
        rhat, ess, mcse: of those that were examined, which is a random selection where there are many.
        chains: None for independent draws.
    """

    functions: int
    constant: int
    rhat: np.ndarray
    ess: np.ndarray
    mcse: np.ndarray
    chains: int | None

    def row(self) -> dict[str, float]:
        """Their quantiles: R-hat and MCSE that 50, 90 and 99 % stay below, ESS that as many reach."""
        found: dict[str, float] = {
            "functions": self.functions,
            "constant": self.constant,
            "examined": len(self.mcse),
        }
        for name, values, sign in (("rhat", self.rhat, 1), ("ess", self.ess, -1), ("mcse", self.mcse, 1)):
            for level in LEVELS:
                found[f"{name}_{100 * level:.0f}"] = sign * _reached(sign * values, level)
        return found

    def curve(self, points: int = 101) -> list[float]:
        """R-hat that 0 %, 1 %, ..., 100 % of the functions stay below or at."""
        return [_reached(self.rhat, level) for level in np.linspace(0, 1, points)]


def mixing(values: Tensor, chains: int | None, *, most: int = 1000, seed: int = 0) -> Mixing:
    """Diagnose a family of scalar functions of the draws.

    Args:
        values: `[S, ...]`, one value per draw and function, draws chain after chain.
        chains: how many chains; None for independent draws.
        most: how many functions to examine; where more of them vary, a random selection.
        seed: of that selection.

    Raises:
        ValueError: values that are not finite; draws that the chains cannot share evenly; copies of a chain.

    >>> draws = torch.randn(4 * 250, 3, generator=torch.Generator().manual_seed(0))
    >>> mixing(draws, 4).row()["rhat_99"] < 1.02
    True
    """
    table = values.detach().reshape(len(values), -1)
    if not torch.isfinite(table).all():
        bad = sorted(set((~torch.isfinite(table)).any(1).nonzero()[:, 0].tolist()))
        raise ValueError(
            f"diagnostics.mixing: {len(bad)} draws hold NaN or infinite values, the first of them draw {bad[0]}; a "
            "draw that is not finite belongs to no posterior: find out where it came from."
        )
    if chains is not None and len(table) % chains:
        raise ValueError(f"diagnostics.mixing: {len(table)} draws cannot be shared evenly by {chains} chains.")
    functions = table.shape[1]
    varying = (table != table[0]).any(0).nonzero()[:, 0].cpu()
    constant = functions - len(varying)
    order = torch.randperm(len(varying), generator=torch.Generator().manual_seed(seed))
    varying = varying[order[:most].sort().values]
    chosen = table[:, varying.to(table.device)].double().cpu()
    if chains is None:
        s = len(chosen)
        error = chosen.std(0).numpy() / math.sqrt(s) if len(varying) else np.empty(0)
        return Mixing(functions, constant, np.empty(0), np.full(len(varying), float(s)), error, None)
    draws = by_chain(chosen, chains).numpy()
    if draws.shape[1] < LEAST or not len(varying):
        return Mixing(functions, constant, *(np.full(len(varying), np.nan) for _ in range(3)), chains)
    _check_copies(draws)
    return Mixing(functions, constant, *_estimates(draws), chains)


def mean_and_error(values: Tensor, chains: int | None) -> tuple[float, float]:
    """Mean of a function over the draws `[S]`, and its Monte Carlo standard error; NaN where that is not known.

    A function that has one value for all draws has no error: whether the draws themselves differ is for the caller to
    know.
    """
    found = mixing(values[:, None], chains)
    mean = float(values.double().mean())
    return (mean, 0.0) if found.constant else (mean, float(found.mcse[0]))


def verdict(families: Mapping[str, Mixing], draws: int) -> str:
    """The word for a posterior, from the families of functions that count: the worst of them decides.

    >>> still = Mixing(1, 0, np.array([1.9]), np.array([3.0]), np.array([0.1]), chains=3)
    >>> verdict({"class_probability": still}, draws=30)
    'ensemble of 3 local chains'
    """
    chains = next((m.chains for m in families.values()), None)
    if chains is None:
        return ONE if draws == 1 else INDEPENDENT
    judged = [m for m in families.values() if len(m.rhat)]
    below = lambda limit: min((float(np.mean(m.rhat < limit)) for m in judged), default=0.0)  # NaN is not below
    long = all(np.mean(m.ess >= ENOUGH) >= 0.9 for m in judged)
    if long and below(GOOD) >= 0.9 and below(FAIR) >= 0.99:
        return MIXED
    if long and below(FAIR) >= 0.9:
        return PARTLY
    return f"{LOCAL} {chains} local chain{'s' if chains > 1 else ''}"


def _check_copies(draws: np.ndarray) -> None:
    """Raise where two of the chains `[chains, draws, functions]` are one and the same."""
    rich = [f for f in range(draws.shape[2]) if len(np.unique(draws[:, :, f])) >= LEAST]  # two coins may fall alike
    chains = {}
    for number, chain in enumerate(draws[:, :, rich]):
        first = chains.setdefault(chain.tobytes(), number) if rich else number
        if first != number:
            raise ValueError(
                f"diagnostics.mixing: chains {first} and {number} have the same values throughout; copies of a chain "
                "agree with each other without having mixed, so give every chain once."
            )


def _estimates(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """R-hat, ESS and MCSE of `[chains, draws, functions]`. A single chain has no R-hat: it is NaN."""
    from arviz_stats.base import array_stats

    with np.errstate(all="ignore"):  # chains that stand still divide by zero: R-hat is infinite, as it should be
        rhat, ess, mcse = (getattr(array_stats, n)(draws, chain_axis=0, draw_axis=1) for n in ("rhat", "ess", "mcse"))
    return rhat, ess, mcse


def _reached(values: np.ndarray, level: float) -> float:
    """The smallest of the values that this share of them does not exceed; NaN counts as larger than any."""
    if not len(values) or np.isnan(values).all():
        return math.nan
    ordered = np.sort(values)  # NaN last
    return float(ordered[max(0, math.ceil(level * len(values) - 1e-9) - 1)])
