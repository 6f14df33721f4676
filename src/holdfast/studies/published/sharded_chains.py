"""Hamiltonian Monte Carlo as released: separate chains on disjoint parts of the data, draws taken with replacement.

    for each part D_k of n images:   chain on  p(w) p(D_k | w),  p(w) = N(0, 1),  step e adapted to accept 80 %
    keep m + 1 draws of each part, m = draws / parts, each picked at random with replacement

    arXiv:2102.11010: by the no-U-turn criterion; the ensemble is the draws of all parts
    arXiv:2002.04359: L e = 0.05; the ensemble is the draws of the last part, repeated until there are enough

What is wrong with it:

- Every chain sees its part of the images and the whole prior. The mixture of the parts' posteriors is not the posterior
  of all images, it is wider; "60,000 training points" are 15 times 4,000. With the last part alone it is that part's.
- Picking with replacement repeats draws: of 7 draws 4.6 are expected to be different, and of 9 draws of the last part
  100 are made.
- A N(0, 1) prior on every weight gives logits of order 10^3. Steps small enough to be accepted are tiny: neither a
  trajectory of length 0.05 nor 1,023 steps go far. A chain stays near the first weights that fit, not far from its
  start in U(-2, 2); nothing is reported that would tell.

Different from the release: both adapt a diagonal mass, and the first searches for a step anew after it; both fold the
prior into the kicks, which here is the exact rotation of `holdfast.inference.hmc`. No trajectory of length 0.05 takes
more than 1,000 steps: the step can become so small that it would take millions.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from holdfast.checks import check_count, check_range
from holdfast.data.dataset import Split
from holdfast.ensemble import Diagnostics, Ensemble, skeleton
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.kernel import Potential, State, transition, with_slope
from holdfast.inference.hmc.potential import potential
from holdfast.progress import track
from holdfast.studies.published.no_u_turn import no_u_turn

LONGEST = 1000  # steps of a trajectory


def sharded_chains(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    shard: int = 4000,
    draws: int = 100,
    warm_up: int = 100,
    trajectory: float | Literal["no u-turn"] = 0.05,
    step: float = 0.005,
    keep: Literal["all", "last"] = "all",
) -> Ensemble:
    """The released chains. For comparison only.

    Args:
        network: the architecture, without buffers.
        data: images and labels.
        seed: of the parts, the starts, the chains and the picking.
        shard: images of a part.
        draws: how many the ensemble gets.
        warm_up: trajectories of each part in which the step adapts.
        trajectory: their length, or "no u-turn".
        step: where the search for the first step begins.
        keep: "all" parts, or the "last" alone.

    >>> data = Split(torch.rand(30, 1, 2, 2), torch.arange(30) % 3)
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    >>> found = sharded_chains(network, data, seed=0, shard=10, draws=6, warm_up=3, keep="last")
    >>> len(found), found.diagnostics.summary["images_seen"]
    (6, 10)
    """
    for name, value in dict(shard=shard, draws=draws, warm_up=warm_up).items():
        check_count("sharded_chains", name, value)
    check_range("sharded_chains", "step", step, 0, 10, open_low=True)
    if isinstance(trajectory, str) and trajectory != "no u-turn":
        raise ValueError(f"sharded_chains: trajectory must be a length or 'no u-turn', got {trajectory!r}.")
    if trajectory != "no u-turn":
        check_range("sharded_chains", "trajectory", trajectory, 0, 10, open_low=True)
    if keep not in ("all", "last"):
        raise ValueError(f"sharded_chains: keep must be 'all' or 'last', got {keep!r}.")
    shapes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    coordinates = Coordinates(shapes, dict.fromkeys(shapes, 1.0))
    g = torch.Generator().manual_seed(seed)
    parts = torch.randperm(len(data), generator=g).split(shard)
    each, pool, accepted = draws // len(parts) + 1, [], []
    for number, rows in enumerate(track(parts, "chains as released")):
        start = 4 * torch.rand(1, coordinates.size, generator=g) - 2
        chosen = torch.randint(each, (each,), generator=g)
        if number < len(parts) - 1 if keep == "last" else number * each >= draws:
            continue  # nothing of this chain would be kept
        likelihood = potential(network, coordinates, data.images[rows][None], data.labels[rows][None])
        found, rate = _chain(likelihood, start, seed + number, warm_up, each, trajectory, step)
        pool.append(found[chosen])
        accepted.append(rate)
    if keep == "last":
        picked = pool[-1][torch.randint(each, (draws,), generator=g)]
    else:
        picked = torch.cat(pool)[:draws]
    summary = {
        "images_seen": len(parts[-1]) if keep == "last" else shard,
        "distinct_draws": len(picked.unique(dim=0)),
        "acceptance": sum(accepted) / len(accepted),
    }
    settings = dict(seed=seed, shard=shard, draws=draws, warm_up=warm_up, trajectory=trajectory, step=step, keep=keep)
    return Ensemble(skeleton(network), coordinates.parameters(picked), Diagnostics("sharded_chains", settings, summary))


def _chain(
    likelihood: Potential, start: Tensor, seed: int, warm_up: int, draws: int, trajectory: float | str, step: float
) -> tuple[Tensor, float]:
    """Draws `[draws, d]` of one part, and the mean chance with which their proposals were accepted."""
    state = with_slope(likelihood, State(start, likelihood.nll(start)))
    adapted, kept, chances = _Step(_first_step(likelihood, state, seed, step)), [], 0.0
    for number in range(warm_up + draws):
        size = adapted.now if number < warm_up else adapted.mean
        state, chance = _move(likelihood, state, seed, number, trajectory, size)
        if number < warm_up:
            adapted.learn(chance)
        else:
            kept.append(state.z[0])
            chances += chance
    return torch.stack(kept), chances / draws


def _move(
    likelihood: Potential, state: State, seed: int, number: int, trajectory: float | str, size: float
) -> tuple[State, float]:
    """Where the chain is afterwards, and the chance with which it was accepted."""
    if isinstance(trajectory, str):
        draw = no_u_turn(likelihood, state, seed, number, size)
        return draw.state, draw.acceptance
    steps = min(max(1, int(trajectory / size)), LONGEST)
    outcome = transition(likelihood, state, [seed], number, steps, torch.tensor([size], dtype=torch.float64))
    return outcome.state, math.exp(min(0.0, -float(outcome.error[0])))


def _first_step(likelihood: Potential, state: State, seed: int, step: float) -> float:
    """Halve or double the step until one alone crosses an acceptance of 0.8, as both releases do."""

    def is_small(size: float) -> bool:
        error = float(transition(likelihood, state, [seed], 0, 1, torch.tensor([size], dtype=torch.float64)).error[0])
        return error < -math.log(0.8)

    factor = 2.0 if is_small(step) else 0.5
    for _ in range(50):
        if is_small(step) != (factor > 1):
            break
        step *= factor
    return step


class _Step:
    """Dual averaging of the step to an acceptance of 0.8 (Hoffman and Gelman 2014, algorithm 5)."""

    def __init__(self, first: float) -> None:
        self.centre, self.count, self.error = math.log(10 * first), 0, 0.0
        self.now, self._mean = first, 0.0

    @property
    def mean(self) -> float:
        """The averaged step, for after the warm-up."""
        return math.exp(self._mean)

    def learn(self, acceptance: float) -> None:
        """Take in the chance with which a proposal was accepted."""
        self.count += 1
        weight = 1 / (self.count + 10)
        self.error = (1 - weight) * self.error + weight * (0.8 - acceptance)
        logarithm = self.centre - math.sqrt(self.count) / 0.05 * self.error
        share = self.count**-0.75
        self._mean = share * logarithm + (1 - share) * self._mean
        self.now = math.exp(max(-30.0, min(3.0, logarithm)))
