"""hmc: Hamiltonian Monte Carlo on all images at once, the reference among the posteriors.

    p(w | data)^(1/T)  by trajectories of   H(z, q) = -1/T sum_i log p(y_i | x_i, w) + |z|^2 / 2 + |q|^2 / 2

in whitened weights z = w / (s sqrt T), s the prior deviations (Neal 2011, arXiv:1206.1901; Izmailov et al. 2021,
arXiv:2104.14421, for networks). Each chain starts from a fit of its own to the maximum of the posterior. Whether the
chains have mixed is for the diagnostics to say, by function and not by weight: here is only reported what happened.
"""

import copy
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.checks import check_count, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Ensemble
from holdfast.inference.fingerprint import data_of
from holdfast.inference.hmc.approach import approach
from holdfast.inference.hmc.arguments import check_layers, check_plain, prior_of
from holdfast.inference.hmc.chains import Run
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.home import home_of, once
from holdfast.inference.hmc.layers import plain_layers
from holdfast.inference.hmc.precision import Precision, choose
from holdfast.inference.hmc.presets import Mass, Name, Plan, plan_of
from holdfast.inference.hmc.processes import Problem, run_all
from holdfast.inference.hmc.results import diagnostics_of, prior_logit_sd
from holdfast.inference.hmc.threads import one_thread
from holdfast.inference.priors import EmpCov, Prior, StudentT, as_prior, random_parameters, settings_of
from holdfast.inference.seeds import member_seeds
from holdfast.inference.sgd import train_members
from holdfast.inference.training import as_ensemble, check_problem, check_temperature
from holdfast.tiles import MEMORY


def hmc(
    network: nn.Module,
    data: Split,
    *,
    seed: int,
    preset: Name | Plan = "cpu-10min",
    prior: str | Prior | StudentT | EmpCov = "fan_in",
    temperature: float = 1.0,
    chains: int | None = None,
    draws: int | None = None,
    trajectory: float | None = None,
    mass: Mass | None = None,
    precision: Precision = "auto",
    folder: str | os.PathLike | None = None,
    processes: int | None = None,
    memory: int = MEMORY,
) -> Ensemble:
    """Sample a network's posterior given all images.

    The network should standardise its images, see `networks.normalised`: the prior is meant for inputs of unit size,
    and `mean_field`, which standardises them by itself, has the same one then.

    On a CPU large chains run in one process each; a script that calls this needs `if __name__ == "__main__":`. Whatever
    `torch.set_num_threads` says, a chain computes on one thread: the same seed gives the same bytes. To use more cores,
    run more chains.

    Args:
        network: the architecture; left as it is, dropout off. Batch normalisation is refused: with it the weights
            alone do not define a density. Scales and shifts of other normalisation layers are not sampled: all chains
            have those of the first fit.
        data: images and labels, on the device where to run.
        seed: of the fits, the momenta and the tests.
        preset: "smoke", "cpu-10min", "cpu-hour", "gpu-minutes", "gpu-reference", or a `Plan`.
        prior: "fan_in", "unit", "student_t", "emp_cov", or `FanIn(...)`, `Isotropic(variance)`, `StudentT(...)`,
            `EmpCov(...)`. The fits are made under the normal prior with the same deviations.
        temperature: of the posterior; 1 is Bayes' rule. Likelihood and prior are raised to the power 1 / T, whereas
            `mean_field` raises the likelihood alone.
        chains, draws, trajectory, mass: in place of the preset's.
        precision: of the gradients, "auto", "float32", "tf32" or "bfloat16"; energies are in float32 products and
            float64 sums whatever it is. "auto" is bfloat16 on CPUs with units for it, TF32 on GPUs.
        folder: where checkpoints are kept; called again with the same arguments, a run goes on from there, with the
            same bytes; `draws` may differ. None for a temporary one.
        processes: how many chains may run at once on a CPU, in a process each; None for one per core, 1 for all of
            them one after the other in this one. The answer is the same.
        memory: budget in bytes for the work of one moment, of each chain that has a process of its own: a block of
            images, its activations and what goes back through them. The images and some vectors of the weights' length
            come on top. A budget too small for the usual blocks makes them smaller, and the last bits may differ.

    Returns:
        the kept draws of chain 0, then of chain 1, and so on, rejected repeats included. Diagnostics: acceptance,
        energy errors, divergences, E-BFMI, steps, gradients, distinct draws; the history has one value per draw.

    Raises:
        ValueError: data that do not fit the network, settings out of range, a folder of another run.
        FloatingPointError: the loss is not finite, or trajectories diverge at any step.
        OSError: the folder or a checkpoint cannot be written; what was finished is kept.
        ChildProcessError: a chain's process ended without a word, for want of memory; what was finished is kept.

    Warns:
        OtherVersions: the folder was begun by another holdfast or PyTorch, whose bytes may differ.
        OneProcess: the network cannot be given to other processes (it was defined in a notebook, or holds a lambda), so
            its chains run one after the other.

    >>> data = Split(torch.rand(64, 2), torch.arange(64) % 2)
    >>> quick = Plan(chains=2, draws=3, warm_up=3)
    >>> len(hmc(nn.Linear(2, 2), data, seed=0, preset=quick))
    6
    """
    call = "inference.hmc"
    if processes is not None:
        check_count(call, "processes", processes)
    given = {"chains": chains, "draws": draws, "trajectory": trajectory, "mass": mass}
    plan = replace(plan_of(call, preset), **{k: v for k, v in given.items() if v is not None})
    check_problem(call, network, data)
    check_seed(call, seed)
    check_layers(call, network)
    check_temperature(call, temperature)
    check_count(call, "memory", memory, high=2**63)
    shape = prior_of(call, prior)
    believed = as_prior(call, shape.base if isinstance(shape, StudentT | EmpCov) else shape)
    check_plain(call, network, plan, shape)
    chosen = choose(call, precision, data.images.device, data.images.dtype)
    settings = {"seed": seed, "chains": plan.chains, "draws": plan.draws, "temperature": temperature}
    settings |= {
        "prior": settings_of(shape),
        "precision": chosen,
        "images": len(data),
        "data": data_of(data),
        "plan": asdict(plan),
    }
    with home_of(folder, settings, network) as home, one_thread():
        start = _starts(call, network, data, seed, plan, believed, home)
        start = _approached(network, data, start, believed, temperature, seed, plan, home)
        problem = _problem(network, data, start, shape, believed, temperature, seed, plan, chosen, home, memory)
        runs = run_all(replace(problem, processes=processes, temporary=folder is None))
        return _ensemble(network, data, runs, problem, settings)


def _ensemble(network: nn.Module, data: Split, runs: list[Run], problem: Problem, settings: dict[str, Any]) -> Ensemble:
    """The kept draws and their diagnostics."""
    weights, plan = _weights(runs, problem), problem.plan
    fixed = {k: v.repeat_interleave(plan.draws, 0) for k, v in problem.fixed.items()}
    names = [k for k, _ in (*network.named_parameters(), *network.named_buffers())]
    ensemble = as_ensemble(network, {k: ({**weights, **fixed})[k] for k in names}, {})
    of_prior = (network, problem.coordinates, problem.fixed, data.images, problem.temperature, problem.seed)
    return replace(ensemble, diagnostics=diagnostics_of(runs, plan, settings, prior_logit_sd(*of_prior)))


def _weights(runs: list[Run], problem: Problem) -> dict[str, Tensor]:
    """The random parameters of all draws, chain by chain; draw by draw, so that only the result is large."""
    found: dict[str, list[Tensor]] = {name: [] for name in problem.coordinates.places}
    for run in runs:
        turned = run.metric.coordinates(problem.coordinates) if run.metric else problem.coordinates
        for k in range(len(run.draws[0])):
            for draw in run.draws:
                z = draw[k : k + 1].to(problem.start.device)
                for name, value in turned.parameters(z).items():
                    found[name].append(value)
    return {name: torch.cat(parts) for name, parts in found.items()}


def _problem(
    network: nn.Module,
    data: Split,
    start: Ensemble,
    shape: Prior | StudentT | EmpCov,
    believed: Prior,
    temperature: float,
    seed: int,
    plan: Plan,
    precision: str,
    home: Path,
    memory: int,
) -> Problem:
    scales = {k: s * temperature**0.5 for k, s in random_parameters(network, believed).items()}
    architecture = copy.deepcopy(network).to(data.images.device, data.images.dtype).eval()
    inputs = _input_root(architecture, data, shape) if isinstance(shape, EmpCov) else None
    coordinates = Coordinates({k: tuple(start.weights[k].shape[1:]) for k in scales}, scales, inputs)
    fixed = {k: v for k, v in start.weights.items() if k not in scales}
    seeds = member_seeds(seed, plan.chains)
    z = coordinates.flatten({k: start.weights[k] for k in scales})
    if inputs:
        z.clamp_(-4, 4)  # a fit under another prior may lie where this one has no mass
    degrees = shape.degrees if isinstance(shape, StudentT) else None
    return Problem(
        architecture, data, coordinates, z, fixed, seeds, seed, plan, temperature, precision, home, memory, degrees
    )


def _input_root(network: nn.Module, data: Split, shape: EmpCov) -> dict[str, Tensor]:
    front, layers = plain_layers(network)
    with torch.no_grad():
        x = nn.Sequential(*front)(data.images)
    return {layers[0].weight: shape.root(x.flatten(1))}


def _starts(call: str, network: nn.Module, data: Split, seed: int, plan: Plan, believed: Prior, home: Path) -> Ensemble:
    """The fits from which the chains start."""
    seeds = member_seeds(seed, plan.chains)
    fit = lambda: train_members(call, network, data, seeds, plan.start, believed)[0]
    start = once(home / "start.safetensors", network, data, fit)
    sampled = random_parameters(network, believed)
    alike = {k: v if k in sampled else v[:1].expand_as(v).contiguous() for k, v in start.weights.items()}
    return replace(start, weights=alike)  # chains that differ in what is not sampled would have different posteriors


def _approached(
    network: nn.Module,
    data: Split,
    start: Ensemble,
    believed: Prior,
    temperature: float,
    seed: int,
    plan: Plan,
    home: Path,
) -> Ensemble:
    """Where the warm-up begins: the fits, or where stochastic gradients have led from them."""
    if plan.approach is None:
        return start
    scale, seeds = random_parameters(network, believed), member_seeds(seed, plan.chains)
    go = lambda: approach(network, data, start.weights, scale, temperature, plan.approach, seeds, seed)
    return once(home / "approach.safetensors", network, data, lambda: replace(start, weights=go()))
