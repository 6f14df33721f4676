"""Pyro store: an ensemble drawn from the mean-field guide that Pyro saved with `get_param_store().save(file)`.

    w = loc + scale * noise

Three layouts are known:

    NAME_loc, NAME_scale                     the code of Carbone et al. 2022 (arXiv:2102.11010); there scale is the
                                             softplus of what is stored
    AutoNormal.locs.NAME, .scales.NAME       pyro.infer.autoguide.AutoNormal
    AutoDiagonalNormal.loc, .scale           pyro.infer.autoguide.AutoDiagonalNormal: one vector for all weights, in the
                                             order in which the model samples them

Pyro stores what its optimiser moves, not the constrained values: a scale is the softplus of it (softplus_positive) or
its exponential (positive), as the file's constraint says. The file is read without running code of it, Pyro is not
needed, and its random numbers are not: the draws are ours.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.banks.state_dicts import load_checkpoint
from holdfast.checks import check_count, check_seed
from holdfast.ensemble import Diagnostics, Ensemble, check_network, check_path, skeleton


class _Softplus:
    """Stands in for pyro.distributions.constraints.softplus_positive."""


class _Positive:
    """Stands in for torch.distributions.constraints.positive, which is a `_GreaterThan`."""


class _Real:
    """Stands in for torch.distributions.constraints.real."""


class _Independent:
    """Stands in for a constraint on vectors, which holds another one."""


STAND_INS = [
    (_Softplus, "pyro.distributions.constraints._SoftplusPositive"),
    (_Positive, "torch.distributions.constraints._GreaterThan"),
    (_Real, "torch.distributions.constraints._Real"),
    (_Independent, "torch.distributions.constraints._IndependentConstraint"),
]
CONSTRAINTS: dict[type, Callable[[Tensor], Tensor]] = {_Softplus: F.softplus, _Positive: torch.exp, _Real: lambda t: t}
Site = tuple[Tensor, Tensor]  # location and scale


def from_pyro(
    path: str | os.PathLike, network: nn.Module, *, draws: int, seed: int, order: Sequence[str] | None = None
) -> Ensemble:
    """Draw an ensemble from a saved Pyro parameter store.

    Args:
        path: the file that `pyro.get_param_store().save` wrote.
        network: the architecture the guide was over. Names are matched as they are, or, where none match, in order and
            by shape. Its buffers are kept.
        draws: how many networks to draw.
        seed: of the noise.
        order: names of the network's parameters in the order in which the model sampled them, for
            `AutoDiagonalNormal`; by default the network's own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is no parameter store, sites that are missing or of other shapes.
    """
    call = "banks.from_pyro"
    check_path(call, "path", path)
    check_network(call, network)
    check_count(call, "draws", draws)
    check_seed(call, seed)
    shapes = {k: p.shape for k, p in network.named_parameters()}
    values, raw = _read(call, path)
    sites = _of_papers(raw) or _of_auto_normal(values) or _of_auto_diagonal(call, path, values, shapes, order)
    if not sites:
        raise ValueError(
            f"{call}: {path} holds none of the known guides; expected names such as 'fc.weight_loc' and "
            f"'fc.weight_scale', 'AutoNormal.locs.fc.weight' or 'AutoDiagonalNormal.loc', got {sorted(raw)[:4]}."
        )
    sites = _matched(call, path, sites, shapes)
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, value in network.named_parameters():
        loc, scale = (t.to(torch.float32) for t in sites[name])
        noise = torch.randn((draws, *loc.shape), generator=generator)
        weights[name] = torch.addcmul(loc, scale, noise).to(value.dtype)
    weights |= {k: b.detach().expand(draws, *b.shape).clone() for k, b in network.named_buffers()}
    settings = {"seed": seed, "draws": draws, "file": os.fspath(os.path.basename(path))}
    return Ensemble(skeleton(network), weights, Diagnostics("pyro_mean_field", settings))


def _read(call: str, path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Constrained and stored values by name."""
    state = load_checkpoint(call, path, STAND_INS)
    if not isinstance(state, Mapping) or not isinstance(state.get("params"), Mapping):
        raise ValueError(f"{call}: {path} is no Pyro parameter store: it has no 'params'.")
    raw, constraints = state["params"], state.get("constraints", {})
    if not all(isinstance(v, Tensor) for v in raw.values()) or not isinstance(constraints, Mapping):
        raise ValueError(f"{call}: {path} is no Pyro parameter store: its 'params' are not tensors.")
    raw = {str(k): v.detach() for k, v in raw.items()}
    return {k: _constrain(call, k, constraints.get(k))(v) for k, v in raw.items()}, raw


def _constrain(call: str, name: str, constraint: Any) -> Callable[[Tensor], Tensor]:
    while isinstance(constraint, _Independent):
        constraint = constraint.base_constraint
    if constraint is None:
        return CONSTRAINTS[_Real]
    if isinstance(constraint, _Positive) and getattr(constraint, "lower_bound", 0) != 0:
        raise ValueError(f"{call}: {name} is bounded below by {constraint.lower_bound}, which no guide known here is.")
    if type(constraint) not in CONSTRAINTS:
        raise ValueError(f"{call}: the constraint of {name} is {constraint!r:.60}, none of those that guides have.")
    return CONSTRAINTS[type(constraint)]


def _of_papers(raw: Mapping[str, Tensor]) -> dict[str, Site]:
    names = [k.removesuffix("_loc") for k in raw if k.endswith("_loc")]
    return {n: (raw[f"{n}_loc"], F.softplus(raw[f"{n}_scale"])) for n in names if f"{n}_scale" in raw}


def _of_auto_normal(values: Mapping[str, Tensor]) -> dict[str, Site]:
    found = {}
    for key, loc in values.items():
        guide, middle, name = key.partition(".locs.")
        scale = values.get(f"{guide}.scales.{name}")
        if middle and scale is not None:
            found[name.split("$$$")[-1]] = (loc, scale)
    return found


def _of_auto_diagonal(
    call: str,
    path: str | os.PathLike,
    values: Mapping[str, Tensor],
    shapes: Mapping[str, torch.Size],
    order: Sequence[str] | None,
) -> dict[str, Site]:
    guide = next((k.removesuffix(".loc") for k in values if k.endswith(".loc") and values[k].ndim == 1), None)
    if guide is None or f"{guide}.scale" not in values:
        return {}
    names = list(order) if order is not None else list(shapes)
    if sorted(names) != sorted(shapes):
        raise ValueError(f"{call}: order must name every parameter of the network once, got {names[:4]}.")
    loc, scale = values[f"{guide}.loc"], values[f"{guide}.scale"]
    sizes = [shapes[n].numel() for n in names]
    if loc.shape != scale.shape or len(loc) != sum(sizes):
        raise ValueError(f"{call}: {path} holds {len(loc)} weights in one vector, the network has {sum(sizes)}.")
    parts = zip(names, loc.split(sizes), scale.split(sizes), strict=True)
    return {n: (a.view(shapes[n]), b.view(shapes[n])) for n, a, b in parts}


def _matched(
    call: str, path: str | os.PathLike, sites: Mapping[str, Site], shapes: Mapping[str, torch.Size]
) -> dict[str, Site]:
    """Sites under the network's names."""
    if not sites.keys() & shapes.keys() and len(sites) == len(shapes):
        sites = dict(zip(shapes, sites.values(), strict=True))
    missing, extra = [k for k in shapes if k not in sites], [k for k in sites if k not in shapes]
    if missing or extra:
        raise ValueError(
            f"{call}: {path} lacks {missing[:3] or 'nothing'} and has {extra[:3] or 'nothing'} besides; build the "
            "network that the guide was over."
        )
    for name, (loc, scale) in sites.items():
        if loc.shape != shapes[name] or scale.shape != shapes[name]:
            raise ValueError(
                f"{call}: {name} is {tuple(loc.shape)} in {path} and {tuple(shapes[name])} in the network."
            )
    return dict(sites)
