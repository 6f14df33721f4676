"""Results: what a run of chains says of itself."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from holdfast.ensemble import Diagnostics
from holdfast.inference.hmc.chains import Run
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.kernel import DIVERGENT
from holdfast.inference.hmc.presets import Plan
from holdfast.inference.hmc.warm_up import of_several, trend
from holdfast.inference.seeds import stream

DRIFTING = 2.5  # standard errors of Kendall's test from which one chain is said to drift, see `of_several`
SLOW = 0.3  # E-BFMI below which the momenta explore the energies too slowly (Betancourt 2016)
REFUSED = 0.3  # acceptance; the step is adapted to an energy error at which 0.6 to 0.8 of the trajectories are accepted
LOGITS = (1.0, 20.0)  # standard deviation of a logit under the prior: 3 to 5 is the aim. With hundreds (0.2 on every
# weight) the step fell a hundredfold, with thousands (1 on every weight) chains did not move; 20 is four times the aim.
# Below 1 the prior holds all classes to be nearly as probable as each other, whatever the image
LARGEST = 1e6  # energy errors beyond this, infinite ones too, are reported as this


def diagnostics_of(runs: Sequence[Run], plan: Plan, settings: dict[str, Any], logit_sd: float) -> Diagnostics:
    """Diagnostics of the kept draws; histories chain by chain, as the draws are."""
    chains = [(run, k) for run in runs for k in range(len(run.draws[0]))]
    each = lambda name: [record[name][k] for run, k in chains for record in run.records]
    errors = [max(-LARGEST, min(LARGEST, e)) for e in each("error")]
    accepted = [int(a) for a in each("accepted")]
    squares = [float(z[k].double().square().mean()) for run, k in chains for z in run.draws[-1:]]
    distinct = len(chains) + sum(sum(r["accepted"][k] for r in run.records[1:]) for run, k in chains)
    summary = {
        "acceptance": sum(accepted) / len(accepted),
        "acceptance_per_chain": [sum(r["accepted"][k] for r in run.records) / plan.draws for run, k in chains],
        "rms_energy_error": math.sqrt(sum(e * e for e in errors) / len(errors)),
        "divergences": sum(not abs(e) < DIVERGENT for e in errors),
        "e_bfmi": [e_bfmi([record["energy"][k] for record in run.records]) for run, k in chains],
        "step_size": [run.outcome.step for run, _ in chains],
        "trajectory": plan.trajectory,
        "leapfrog_steps": [sum(r["steps"] for r in run.records) / plan.draws for run, _ in chains],
        "gradients": sum(r["steps"] for run, _ in chains for r in (*run.warm_up, *run.records)),
        "distinct_draws": distinct,
        "mean_square_of_z": squares,
        "trend_of_nll": [trend([record["nll"][k] for record in run.records]) for run, k in chains],
        "settled_before_the_first_draw": [run.outcome.settled for run, _ in chains],
        "prior_logit_sd": logit_sd,
        "warm_up_trajectories": [len(run.warm_up) for run, _ in chains],
    }
    history = {
        "accepted": accepted,
        "energy_error": errors,
        "energy": each("energy"),
        "nll": each("nll"),
        "mean_square_of_z": each("square"),
        "leapfrog_steps": [record["steps"] for run, _ in chains for record in run.records],
    }
    return Diagnostics("hmc", settings, summary, history, tuple(_warnings(chains, summary)))


def prior_logit_sd(
    network: nn.Module,
    coordinates: Coordinates,
    fixed: Mapping[str, Tensor],
    images: Tensor,
    temperature: float,
    seed: int,
) -> float:
    """Standard deviation of a logit over draws from the prior, pooled over some images: 3 to 5 is sensible."""
    z = torch.randn(32, coordinates.size, generator=stream(seed, "prior logits"), dtype=images.dtype)
    z /= math.sqrt(temperature)  # the coordinates hold the tempered prior
    images, network = images[:: max(1, len(images) // 50)], copy.deepcopy(network).eval()
    with torch.no_grad():
        draws = [{**coordinates.parameters(row[None].to(images.device)), **fixed} for row in z]
        logits = [functional_call(network, {k: v[0] for k, v in draw.items()}, (images,)) for draw in draws]
    return float(torch.stack(logits).var(0).mean().sqrt())


def e_bfmi(energies: Sequence[float]) -> float | None:
    """Energy fraction of missing information: mean squared change of the energy over its variance (Betancourt 2016,
    arXiv:1604.00695), as `arviz-stats` computes it. Below 0.3 the momenta explore the energies too slowly. None for
    fewer than three draws, and for energies that are all the same.

    >>> e_bfmi([1.0, 3.0, 2.0]), e_bfmi([1.0, 1.0, 1.0])
    (2.5, None)
    """
    if len(energies) < 3 or len(set(energies)) == 1:
        return None
    from arviz_stats.base import array_stats

    return float(array_stats.bfmi(np.array([energies]))[0])


def _warnings(chains: list[tuple[Run, int]], summary: dict[str, Any]) -> list[str]:
    found = []
    for number, (run, k) in enumerate(chains):
        found += [f"Chain {number}: {note}" for note in run.outcome.notes]
        if not run.outcome.settled:
            found.append(f"Chain {number} was still drifting when its first draw was kept: a longer warm-up is needed.")
        drift = [record["nll"][k] for record in run.records]
        if len(drift) >= 8 and abs(trend(drift)) > of_several(DRIFTING, len(chains)):
            found.append(
                f"Chain {number} drifts: over its kept draws the loss went from {drift[0]:.5g} to {drift[-1]:.5g} nats."
            )
        if not any(record["accepted"][k] for record in run.records):
            found.append(f"Chain {number} never moved: all its draws are the same network.")
    return found + _of_figures(summary)


def _of_figures(summary: dict[str, Any]) -> list[str]:
    """What the figures of a run say against it."""
    found = []
    for number, value in enumerate(summary["e_bfmi"]):
        if value is not None and value < SLOW:
            found.append(
                f"Chain {number} has an E-BFMI of {value:.2f}, below {SLOW}: its energy changes little from one "
                "trajectory to the next, so it comes to the posterior's tails rarely; run longer chains."
            )
    if summary["acceptance"] < REFUSED:
        found.append(
            f"{summary['acceptance']:.0%} of the trajectories were accepted, fewer than {REFUSED:.0%}: the step is too "
            "long for where the chains are; take a smaller error in the plan, or a longer warm-up."
        )
    elif refusing := [k for k, share in enumerate(summary["acceptance_per_chain"]) if share < REFUSED]:
        found += [
            f"Chain {k}: {summary['acceptance_per_chain'][k]:.0%} of its trajectories were accepted, fewer than "
            f"{REFUSED:.0%}: the step is too long for where it is."
            for k in refusing
        ]
    low, high = LOGITS
    spread = summary["prior_logit_sd"]
    if not low <= spread <= high:
        found.append(
            f"Under the prior a logit has a standard deviation of {spread:.3g}, expected {low:g} to {high:g}: "
            "standardise the images with networks.normalised, or choose another prior."
        )
    if summary["divergences"]:
        found.append(f"{summary['divergences']} trajectories diverged: the step is too long in places.")
    return found
