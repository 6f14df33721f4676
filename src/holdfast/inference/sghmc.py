"""sghmc: stochastic gradients with friction and the right amount of noise, whose path visits the posterior.

    v <- (1 - a) v - h grad U(z) + N(0, 2 a h T),    z <- z + v,    U(z) = -sum_i log p(y_i | x_i, s z) + |z|^2 / 2

(Chen, Fox and Guestrin 2014, arXiv:1402.4102) in weights z in units of the prior deviations s, with the gradient
estimated from a batch: the mean over the batch stands for the sum over all N images with the factor N. Each cycle
begins with a large step h, without noise, and ends with small ones, with noise, from which the draws are taken (Zhang
et al. 2020, arXiv:1902.03932). Without a Metropolis test the draws are biased by the step and by the batches.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from holdfast.checks import check_kind, check_range, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.fingerprint import data_of
from holdfast.inference.priors import Prior, as_prior, penalty, random_parameters, settings_of
from holdfast.inference.seeds import member_seeds, stream
from holdfast.inference.sgd import train_members
from holdfast.inference.statistics import refresh_statistics
from holdfast.inference.training import (
    Training,
    Weights,
    as_ensemble,
    batches,
    check_count,
    check_problem,
    check_temperature,
    cross_entropy,
    member_logits,
    private_random_state,
)
from holdfast.progress import track

START = Training(epochs=5)


@dataclass(frozen=True)
class Path:
    """How long a chain runs, in which steps, and where the draws are taken.

    Attributes:
        epochs: passes over the data, all cycles together.
        batch_size: largest batch.
        step: h of the first step of each cycle, in squared prior deviations.
        schedule: "cyclical" lowers h to almost zero along half a cosine in each cycle; "constant" keeps it.
        cycles: how many cycles.
        exploration: share of each cycle, at its beginning, from which no draws are taken; cyclical chains have no noise
            there.
        friction: a, 0 to 1; 1 is Langevin dynamics.

    >>> Path(step=1e-4).step_at(0.0), Path(step=1e-4, cycles=4).step_at(0.25)
    (0.0001, 0.0001)
    """

    epochs: int = 20
    batch_size: int = 128
    step: float = 2e-5
    schedule: Literal["cyclical", "constant"] = "cyclical"
    cycles: int = 4
    exploration: float = 0.7
    friction: float = 0.1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "cycles"):
            check_count("Path", name, getattr(self, name))
        check_range("Path", "step", self.step, 0, math.inf, open_low=True)
        check_range("Path", "friction", self.friction, 0, 1, open_low=True)
        check_range("Path", "exploration", self.exploration, 0, 1)
        if self.exploration == 1:
            raise ValueError("Path: exploration must be below 1, or no draw is ever taken.")
        if self.schedule not in ("cyclical", "constant"):
            raise ValueError(f"Path: schedule must be 'cyclical' or 'constant', got {self.schedule!r}.")

    def step_at(self, done: float) -> float:
        """h when the share `done` of all steps, 0 to 1, has been taken."""
        if self.schedule == "constant":
            return self.step
        return self.step * 0.5 * (1 + math.cos(math.pi * ((done * self.cycles) % 1)))

    def noisy(self, done: float) -> bool:
        """Whether noise is added there."""
        return self.schedule == "constant" or (done * self.cycles) % 1 >= self.exploration

    def kept(self, steps: int, draws: int) -> list[int]:
        """The steps, of `steps`, after which the draws are taken: spread evenly over the ends of all cycles."""
        ends = [i for i in range(steps) if (i / steps * self.cycles) % 1 >= self.exploration]
        return [ends[(2 * d + 1) * len(ends) // (2 * draws)] for d in range(draws)] if len(ends) >= draws else []


def sghmc(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    draws: int = 100,
    chains: int = 1,
    prior: str | Prior = "fan_in",
    temperature: float = 1.0,
    path: Path = Path(),
    start: Training = START,
) -> Ensemble:
    """Run chains of stochastic gradient Hamiltonian Monte Carlo, all together, and keep draws along them.

    Args:
        network: the architecture; left as it is.
        data: images and labels, on the device where to run.
        seed: of the initial weights, the batch order and the noise.
        draws: how many networks to keep, the same number from every chain.
        chains: independent chains.
        prior: "fan_in", "unit", `FanIn(...)` or `Isotropic(variance)`.
        temperature: of the posterior; 1 is Bayes' rule. Below 1 the posterior is raised to the power 1 / T.
        path: length, steps, cycles and friction.
        start: the fit to the maximum of the posterior from which every chain starts.

    Raises:
        ValueError: for data that do not fit the network, settings out of range, or more draws than steps.
        FloatingPointError: where the loss stops being finite.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> short = Path(epochs=4, batch_size=8, cycles=2)
    >>> len(sghmc(nn.Linear(2, 2), data, seed=0, draws=6, path=short, start=Training(epochs=1)))
    6
    """
    return sample("sghmc", network, data, seed, draws, chains, prior, temperature, path, start)


def sample(
    method: str,
    network: nn.Module,
    data: Split,
    seed: int,
    draws: int,
    chains: int,
    prior: str | Prior,
    temperature: float,
    path: Path,
    start: Training,
) -> Ensemble:
    """What `sghmc` and `sgld` share; arguments as there, `method` for messages."""
    call = f"inference.{method}"
    shell = check_problem(call, network, data)
    check_seed(call, seed)
    check_temperature(call, temperature)
    for name, value, kind in (("path", path, Path), ("start", start, Training)):
        check_kind(call, name, value, kind)
    kept = _kept(call, data, draws, chains, path)
    believed = as_prior(call, prior)
    seeds = member_seeds(seed, chains)
    first, curve = train_members(call, network, data, seeds, start, believed)
    scale = random_parameters(network, believed)
    weights = {k: v.clone() for k, v in first.weights.items()}
    moving = {k: weights[k].requires_grad_() for k, _ in network.named_parameters()}

    def energy(images: Tensor, labels: Tensor) -> Tensor:
        fit = len(data) * cross_entropy(member_logits(shell, weights, images), labels)
        return fit + penalty({k: weights[k] for k in scale}, scale)

    with private_random_state(seed, data.images.device):
        found, energies = walk(call, moving, scale, energy, data, path, temperature, kept, seeds, seed, weights)
    stacked = {k: torch.stack(v, 1).flatten(0, 1) for k, v in found.items()}  # chain by chain
    parts = {k: v for k, v in stacked.items() if k in moving}, {k: v for k, v in stacked.items() if k not in moving}
    refresh_statistics(skeleton(network), *parts, data)  # those of the chain lag behind its weights
    settings = {"seed": seed, "draws": draws, "chains": chains, "prior": settings_of(believed)}
    settings |= {"data": data_of(data)}
    settings |= {"temperature": temperature, **asdict(path), "start": asdict(start)}
    summary = {"loss_at_the_start": curve[-1], "energy_per_image": energies[-1]}
    diagnostics = Diagnostics(method, settings, summary, {"energy_per_image": energies})
    return replace(as_ensemble(network, *parts), diagnostics=diagnostics)


def walk(
    call: str,
    moving: Weights,
    scale: dict[str, float],
    energy: Callable[[Tensor, Tensor], Tensor],
    data: Split,
    path: Path,
    temperature: float,
    kept: list[int],
    seeds: list[int],
    seed: int,
    state: Weights,
) -> tuple[dict[str, list[Tensor]], list[float]]:
    """Move the stacks in `moving` along their chains; copies of `state` at the steps `kept`, mean energies by epoch.

    Parameters without a prior deviation in `scale` move in units of 1, without noise.
    """
    noise = stream(seed, "noise", device=data.images.device)
    speed = {k: torch.zeros_like(v) for k, v in moving.items()}
    found: dict[str, list[Tensor]] = {k: [] for k in state}
    wanted, energies = set(kept), []
    for step, total, rows in _steps(call, data, path, seeds):
        value = energy(data.images[rows], data.labels[rows])
        slopes = torch.autograd.grad(value.sum(), list(moving.values()))
        h, a = path.step_at(step / total), path.friction
        heat = math.sqrt(2 * a * h * temperature) if path.noisy(step / total) else 0.0
        with torch.no_grad():
            for (name, w), slope in zip(moving.items(), slopes, strict=True):
                s = scale.get(name, 1.0)
                v = speed[name].mul_(1 - a).sub_(slope, alpha=h * s)
                if heat and name in scale:
                    v += heat * torch.randn(w.shape, generator=noise, dtype=w.dtype, device=w.device)
                w.add_(v, alpha=s)
            energies.append(value.mean() / len(data))
            if step in wanted:
                for name, value in state.items():
                    found[name].append(value.detach().clone())
    return found, _by_epoch(call, torch.stack(energies).detach(), path)


def _steps(call: str, data: Split, path: Path, seeds: list[int]) -> Iterator[tuple[int, int, Tensor]]:
    """(number, how many there are, rows `[chains, b]`) of each step."""
    orders = [stream(s, "order of the chain") for s in seeds]
    each = math.ceil(len(data) / path.batch_size)
    for epoch in track(range(path.epochs), call.rpartition(".")[2]):
        for i, rows in enumerate(batches(len(data), path.batch_size, orders, data.images.device)):
            yield epoch * each + i, path.epochs * each, rows


def _by_epoch(call: str, energies: Tensor, path: Path) -> list[float]:
    bad = (~torch.isfinite(energies)).nonzero()
    if len(bad):
        each = len(energies) // path.epochs
        raise FloatingPointError(
            f"{call}: the loss was {float(energies[bad[0, 0]])} in epoch {int(bad[0, 0]) // each + 1}, "
            f"step {int(bad[0, 0]) % each + 1}; try a learning rate or step below {path.step:g}."
        )
    return energies.view(path.epochs, -1).mean(1).tolist()


def _kept(call: str, data: Split, draws: int, chains: int, path: Path) -> list[int]:
    check_count(call, "draws", draws)
    check_count(call, "chains", chains)
    if draws % chains:
        raise ValueError(f"{call}: {draws} draws cannot be shared evenly by {chains} chains.")
    kept = path.kept(path.epochs * math.ceil(len(data) / path.batch_size), draws // chains)
    if not kept:
        raise ValueError(
            f"{call}: {draws // chains} draws of each chain need as many steps at the ends of its cycles; "
            "take more epochs, smaller batches or less exploration."
        )
    return kept
