"""hmc: Hamiltonian Monte Carlo on all images at once, the reference among the posteriors.

    p(w | data)^(1/T)  by trajectories of   H(z, q) = -1/T sum_i log p(y_i | x_i, w) + |z|^2 / 2 + |q|^2 / 2

in whitened weights z = w / (s sqrt T), s the prior deviations (Neal 2011, arXiv:1206.1901; Izmailov et al. 2021,
arXiv:2104.14421, for networks). Each chain starts from a fit of its own to the maximum of the posterior. Whether the
chains have mixed is for the diagnostics to say, by function and not by weight: here is only reported what happened.
"""

import copy
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from holdfast.checks import check_count
from holdfast.data.dataset import Split
from holdfast.ensemble import Ensemble
from holdfast.inference.hmc.approach import approach
from holdfast.inference.hmc.chains import Run
from holdfast.inference.hmc.checkpoints import DamagedCheckpoint
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.layers import plain_layers
from holdfast.inference.hmc.precision import Precision, choose
from holdfast.inference.hmc.presets import Mass, Name, Plan, plan_of
from holdfast.inference.hmc.processes import Problem, run_all
from holdfast.inference.hmc.results import diagnostics_of, prior_logit_sd
from holdfast.inference.priors import EmpCov, Prior, StudentT, as_prior, random_parameters, settings_of
from holdfast.inference.seeds import member_seeds
from holdfast.inference.sgd import train_members
from holdfast.inference.training import as_ensemble, check_problem, check_temperature
from holdfast.tiles import MEMORY

NAMED = {"student_t": StudentT(), "emp_cov": EmpCov()}


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

    The network should standardise its images, see `networks.normalised`: the prior is meant for inputs of unit size.
    On a CPU large chains run in one process each; a script that calls this needs `if __name__ == "__main__":`.

    Args:
        network: the architecture; left as it is. Batch normalisation is refused: with it the weights alone do not
            define a density.
        data: images and labels, on the device where to run.
        seed: of the fits, the momenta and the tests.
        preset: "smoke", "cpu-10min", "cpu-hour", "gpu-minutes", "gpu-reference", or a `Plan`.
        prior: "fan_in", "unit", "student_t", "emp_cov", or `FanIn(...)`, `Isotropic(variance)`, `StudentT(...)`,
            `EmpCov(...)`. The fits are made under the normal prior with the same deviations.
        temperature: of the posterior; 1 is Bayes' rule. Below 1 the posterior is raised to the power 1 / T.
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
        OSError: a checkpoint cannot be written; what was finished is kept.

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
    _check_layers(call, network)
    check_temperature(call, temperature)
    check_count(call, "memory", memory, high=2**63)
    shape = NAMED.get(prior, prior) if isinstance(prior, str) else prior
    believed = as_prior(call, shape.base if isinstance(shape, StudentT | EmpCov) else shape)
    _check_plain(call, network, plan, shape)
    chosen = choose(call, precision, data.images.device, data.images.dtype)
    settings = {"seed": seed, "chains": plan.chains, "draws": plan.draws, "temperature": temperature}
    settings |= {
        "prior": settings_of(believed if isinstance(shape, str) else shape),
        "precision": chosen,
        "images": len(data),
        "plan": asdict(plan),
    }
    with _home(folder, settings, network, data) as home:
        start = _starts(call, network, data, seed, plan, believed, home)
        start = _approached(network, data, start, believed, temperature, seed, plan, home)
        problem = _problem(network, data, start, shape, believed, temperature, seed, plan, chosen, home, memory)
        runs = run_all(replace(problem, processes=processes))
    weights = _weights(runs, problem)
    fixed = {k: v.repeat_interleave(plan.draws, 0) for k, v in problem.fixed.items()}
    names = [k for k, _ in (*network.named_parameters(), *network.named_buffers())]
    ensemble = as_ensemble(network, {k: ({**weights, **fixed})[k] for k in names}, {})
    spread = prior_logit_sd(network, problem.coordinates, problem.fixed, data.images, temperature, seed)
    return replace(ensemble, diagnostics=diagnostics_of(runs, plan, settings, spread))


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
    architecture = copy.deepcopy(network).to(data.images.device, data.images.dtype)
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
    return _once(home / "start.safetensors", network, data, fit)


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
    return _once(home / "approach.safetensors", network, data, lambda: replace(start, weights=go()))


def _once(file: Path, network: nn.Module, data: Split, make: Callable[[], Ensemble]) -> Ensemble:
    """What the file holds; made and written where it is absent or damaged."""
    if file.exists():
        try:
            return Ensemble.load(file, network).to(data.images.device)
        except (SafetensorError, ValueError) as error:
            warnings.warn(f"{file} is damaged ({error}); it is computed again.", DamagedCheckpoint, stacklevel=2)
    ensemble = make()
    try:
        ensemble.save(file)
    except (OSError, SafetensorError) as error:
        raise OSError(f"inference.hmc: {file} could not be written ({error}); make room and call again.") from error
    return ensemble


def _check_plain(call: str, network: nn.Module, plan: Plan, shape: Prior | StudentT | EmpCov) -> None:
    plain = plain_layers(network) is not None
    if plan.mass == "kron_in" and not plain:
        raise ValueError(f"{call}: mass='kron_in' needs a plain network of linear layers; use mass='prior'.")
    if plan.mass == "kron_in" and isinstance(shape, StudentT):
        raise ValueError(
            f"{call}: mass='kron_in' turns the weights, a Student-t prior does not allow it; use mass='prior'."
        )
    if isinstance(shape, EmpCov) and not plain:
        raise ValueError(f"{call}: EmpCov needs a plain network of linear layers; use 'fan_in'.")


def _check_layers(call: str, network: nn.Module) -> None:
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"{call}: layer {name or 'network'} is batch normalisation, with which the density of a set of weights "
                "is not defined by the weights; use a network without it, or with group normalisation."
            )


@contextmanager
def _home(
    folder: str | os.PathLike | None, settings: dict[str, Any], network: nn.Module, data: Split
) -> Iterator[Path]:
    """The folder of the run, checked to be of this run, or a temporary one."""
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    same = {**settings, "plan": {k: v for k, v in settings["plan"].items() if k != "draws"}}
    same.pop("draws")  # more draws, or fewer, of the same chains may be asked for later
    fingerprints = {"data": _fingerprint(data.images, data.labels), "buffers": _fingerprint(*network.buffers())}
    identity = json.loads(json.dumps({**same, "network": repr(network), **fingerprints}))
    file = home / "manifest.json"
    if file.exists():
        try:
            found = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(
                f"inference.hmc: {file} cannot be read ({error}), so it is not known what run it is of; choose another "
                "folder, or delete that file if you know."
            ) from error
        _check_identity(home, found, identity)
    else:
        partial = home / ".manifest.partial"
        partial.write_text(json.dumps(identity, indent=1))
        os.replace(partial, file)
    yield home


def _check_identity(home: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    differing = [k for k in wanted if found.get(k) != wanted[k]]
    if differing:
        name = differing[0]
        raise ValueError(
            f"inference.hmc: {home} holds another run: its {name} is {found.get(name)}, here it is {wanted[name]}; "
            "call with the same arguments to go on, or choose another folder."
        )


def _fingerprint(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
