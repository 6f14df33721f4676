"""Stacked cells: chains of many small, equal problems in lockstep, each row of the stack with data of its own.

A network of a few thousand weights spends its time on calling kernels, not in them. Cells of a grid that share the
architecture and the number of points run as one stack: one call of a batched product serves them all. They share the
step and the lengths of the trajectories, nothing else.
"""

import copy
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.checks import check_count, check_kind, check_seed
from holdfast.data.dataset import Split
from holdfast.ensemble import Ensemble
from holdfast.inference.fingerprint import data_of
from holdfast.inference.hmc.arguments import check_layers, check_plain
from holdfast.inference.hmc.chains import Run, run_chains
from holdfast.inference.hmc.checkpoints import Checkpoints
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.home import claimed, home_of, once
from holdfast.inference.hmc.potential import potential
from holdfast.inference.hmc.precision import Precision, choose
from holdfast.inference.hmc.presets import Name, Plan, plan_of
from holdfast.inference.hmc.results import diagnostics_of, prior_logit_sd
from holdfast.inference.hmc.threads import one_thread
from holdfast.inference.priors import Prior, as_prior, random_parameters, settings_of
from holdfast.inference.seeds import member_seeds
from holdfast.inference.sgd import train_members
from holdfast.inference.training import as_ensemble, check_problem, check_temperature
from holdfast.progress import track
from holdfast.tiles import MEMORY


def stacked_cells(
    network: nn.Module,
    cells: Sequence[Split],
    *,
    seed: int,
    preset: Name | Plan = "smoke",
    prior: str | Prior = "fan_in",
    temperature: float = 1.0,
    precision: Precision = "float32",
    folder: str | os.PathLike | None = None,
    memory: int = MEMORY,
) -> list[Ensemble]:
    """Sample the posterior of one network for each of several data sets, all at once: one chain per cell.

    Args:
        network: the architecture; small, or stacking it gains nothing. mass="kron_in" needs linear layers alone.
        cells: data sets with equally many images, of one shape, type and device.
        seed: of all fits and chains.
        preset: as in `hmc`; its `chains` and `approach` are not used. The step adapts during its warm-up.
        prior: "fan_in", "unit", `FanIn(...)` or `Isotropic(variance)`. Student-t and EmpCov priors are refused, though
            `hmc` has them: the cells share their coordinates, and EmpCov's would differ from cell to cell.
        temperature, precision: as in `hmc`.
        folder: where checkpoints are kept, as in `hmc`: called again with the same arguments, a run goes on from there,
            with the same bytes; `draws` may differ. None for a temporary one.
        memory: budget in bytes for the work of one moment, of all cells together, as in `hmc`.

    Returns:
        one ensemble of `draws` for each cell.

    Raises:
        TypeError: for cells that are no Splits, or of several types.
        ValueError: for cells of different sizes, data that do not fit the network, a mass that it has no place for, or
            a folder of another run.
        OSError: the folder or a checkpoint cannot be written; what was finished is kept.

    Warns:
        OtherVersions: the folder was begun by another holdfast or PyTorch, whose bytes may differ.

    >>> cells = [Split(torch.rand(16, 2), torch.arange(16) % 2) for _ in range(3)]
    >>> plan = Plan(draws=2, warm_up=3, burn_in=(0.3,))
    >>> [len(e) for e in stacked_cells(nn.Linear(2, 2), cells, seed=0, preset=plan)]
    [2, 2, 2]
    """
    call = "inference.hmc.stacked_cells"
    plan, believed = replace(plan_of(call, preset), chains=1, approach=None), as_prior(call, prior)
    check_temperature(call, temperature)
    check_count(call, "memory", memory, high=2**63)
    _check(call, network, cells)
    check_seed(call, seed)
    check_layers(call, network)
    check_plain(call, network, plan, believed)
    chosen = choose(call, precision, cells[0].images.device, cells[0].images.dtype)
    settings = {"seed": seed, "chains": 1, "draws": plan.draws, "temperature": temperature}
    settings |= {"prior": settings_of(believed), "precision": chosen, "cells": len(cells), "images": len(cells[0])}
    settings |= {"plan": asdict(plan)}
    told = [data_of(data) for data in cells]
    together = hashlib.sha256("".join(one["sha256"] for one in told).encode()).hexdigest()
    with home_of(folder, settings | {"data": {"sha256": together}}, network, call) as home, one_thread():
        fit = lambda: _fits(call, network, cells, seed, plan, believed)
        start = once(home / "start.safetensors", network, cells[0], fit)
        sampled = _sample(network, cells, seed, plan, believed, temperature, chosen, start, home, memory)
        run, coordinates, fixed = sampled
        spread = prior_logit_sd(network, coordinates, fixed, cells[0].images, temperature, seed)
        turned = run.metric.coordinates(coordinates) if run.metric else coordinates
        each = [settings | {"cell": k, "data": one} for k, one in enumerate(told)]
        return [_cell(network, turned, fixed, run, k, plan, each[k], spread) for k in range(len(cells))]


def _fits(call: str, network: nn.Module, cells: Sequence[Split], seed: int, plan: Plan, believed: Prior) -> Ensemble:
    """The fits from which the chains start, one for each cell."""
    seeds = member_seeds(seed, len(cells))
    fits = [train_members(call, network, data, [s], plan.start, believed)[0] for data, s in zip(cells, seeds)]
    return replace(fits[0], weights={k: torch.cat([fit.weights[k] for fit in fits]) for k in fits[0].weights})


def _sample(
    network: nn.Module,
    cells: Sequence[Split],
    seed: int,
    plan: Plan,
    believed: Prior,
    temperature: float,
    precision: str,
    start: Ensemble,
    home: Path,
    memory: int,
) -> tuple[Run, Coordinates, dict[str, Tensor]]:
    """The chains of all cells, their coordinates, and the parameters and buffers that are not sampled."""
    scales = {k: s * temperature**0.5 for k, s in random_parameters(network, believed).items()}
    coordinates = Coordinates({k: tuple(start.weights[k].shape[1:]) for k in scales}, scales)
    fixed = {k: v for k, v in start.weights.items() if k not in scales}
    like = cells[0].images
    density = potential(
        copy.deepcopy(network).to(like.device, like.dtype).eval(),
        coordinates,
        torch.stack([data.images for data in cells]),
        torch.stack([data.labels for data in cells]),
        fixed=fixed,
        temperature=temperature,
        precision=precision,
        memory=memory,
    )
    seeds, z, first = member_seeds(seed, len(cells)), coordinates.flatten(start.weights), plan.first_step(len(cells[0]))
    with claimed(home / "chains-of-cells") as folder:
        runs = run_chains(density, z, seeds, seed, plan, first, Checkpoints(folder))
        *_, run = track(runs, "stacked_cells", plan.warm_up + len(plan.burn_in) + plan.draws)
    run.draws = [draw.to(z.device) for draw in run.draws]
    return run, coordinates, fixed


def _cell(
    network: nn.Module,
    coordinates: Coordinates,
    fixed: dict[str, Tensor],
    run: Run,
    k: int,
    plan: Plan,
    settings: dict[str, Any],
    spread: float,
) -> Ensemble:
    """The draws of one cell, with diagnostics of its own."""
    alone = lambda records: [{n: [v[k]] if isinstance(v, list) else v for n, v in r.items()} for r in records]
    own = Run([z[k : k + 1] for z in run.draws], alone(run.records), alone(run.warm_up), run.outcome)
    weights = coordinates.parameters(torch.cat(own.draws))
    weights |= {name: value[k : k + 1].expand(plan.draws, *value.shape[1:]) for name, value in fixed.items()}
    names = [name for name, _ in (*network.named_parameters(), *network.named_buffers())]
    ensemble = as_ensemble(network, {name: weights[name] for name in names}, {})
    found = diagnostics_of([own], plan, settings, spread)
    return replace(ensemble, diagnostics=found)


def _check(call: str, network: nn.Module, cells: Sequence[Split]) -> None:
    """Cells must be Splits that can lie in one tensor."""
    if isinstance(cells, str) or not isinstance(cells, Sequence):
        got, todo = type(cells).__name__, "; pass [split] for a single one" * isinstance(cells, Split)
        raise TypeError(f"{call}: cells must be a list of Splits, one for each data set, got {got}{todo}.")
    if not cells:
        raise ValueError(f"{call}: expected at least one cell, got an empty list.")
    for number, data in enumerate(cells):
        check_kind(call, f"cells[{number}]", data, Split)
        check_problem(call, network, data)
    sizes = {len(data) for data in cells}
    if len(sizes) > 1:
        raise ValueError(f"{call}: cells must have equally many images, got {sorted(sizes)}; call once for each size.")
    for what, todo in (("dtype", "bring all to one with .float() or .double()"), ("device", "move all to one")):
        found = sorted({str(getattr(data.images, what)) for data in cells})
        if len(found) > 1:
            raise TypeError(f"{call}: cells must have images of one {what}, got {', '.join(found)}; {todo}.")
    shapes = sorted({tuple(data.images.shape[1:]) for data in cells})
    if len(shapes) > 1:
        raise ValueError(f"{call}: cells must have images of one shape, got {shapes}; call once for each shape.")
