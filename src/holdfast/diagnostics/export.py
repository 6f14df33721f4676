"""Export: a posterior's draws in the schema of ArviZ, as an xarray `DataTree`. Never its weights.

    sample_stats          what the sampler noted of each draw: accepted, energy, energy_error, diverging, n_steps,
                          step_size, acceptance_rate = min(1, exp(-energy_error)), ...
    posterior_predictive  probability of each class, for the images of the probe
    log_likelihood        log probability of the true class
    observed_data         the true classes, and the number of each image in the data

Dimensions are (chain, draw, image, class). Independent draws make one chain. Needs `pip install 'holdfast[arviz]'`.
"""

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from holdfast.chosen_draws import curves_of_draws
from holdfast.data import Split
from holdfast.diagnostics.chains import by_chain, chains_of
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY

if TYPE_CHECKING:
    from xarray import DataTree

DIVERGED = 1000.0  # nats of energy error


def to_arviz(ensemble: Ensemble, data: Split, *, memory: int = MEMORY) -> "DataTree":
    """The draws on some images, for ArviZ.

    Args:
        ensemble: the draws.
        data: the images to predict, with their labels.
        memory: budget in bytes for the work of one moment.

    Raises:
        ImportError: xarray is not installed; the message says how to get it.
    """
    xarray = require_xarray()
    chains = chains_of(ensemble)
    log_p = by_chain(ensemble.logits(data.images, memory=memory).double().log_softmax(-1), chains)
    true = log_p.gather(-1, data.labels.expand(log_p.shape[:-1])[..., None])[..., 0]
    draw = ("chain", "draw")
    groups = {
        "sample_stats": {k: (draw, v) for k, v in _stats(ensemble, chains).items()},
        "posterior_predictive": {"probability": ((*draw, "image", "class"), _array(log_p.exp()))},
        "log_likelihood": {"label": ((*draw, "image"), _array(true))},
        "observed_data": {"label": (("image",), _array(data.labels))},
    }
    sizes = {"chain": log_p.shape[0], "draw": log_p.shape[1], "image": len(data), "class": log_p.shape[-1]}
    datasets = {}
    for group, variables in groups.items():
        used = {d for dims, _ in variables.values() for d in dims}
        datasets[group] = xarray.Dataset(variables, coords={d: range(n) for d, n in sizes.items() if d in used})
    said = ensemble.diagnostics
    attributes = {"inference_library": "holdfast", "method": said.method if said else "unknown"}
    if chains is None:
        attributes["draws_are"] = "independent"
    return xarray.DataTree.from_dict({"/": xarray.Dataset(attrs=attributes), **datasets})


def write_arviz(path: str | os.PathLike, ensemble: Ensemble, data: Split, *, memory: int = MEMORY) -> Path:
    """Write `to_arviz` as a netCDF file, whole or not at all; `arviz.from_netcdf` reads it.

    Raises:
        ValueError: a file name that does not end in .nc.
        ImportError: xarray or h5netcdf is not installed.
    """
    path = Path(path)
    if path.suffix != ".nc":
        raise ValueError(f"diagnostics.write_arviz: the file must end in .nc, got {path.name}.")
    tree = to_arviz(ensemble, data, memory=memory)
    partial = path.with_name(path.name + ".partial")
    try:
        tree.to_netcdf(partial, engine="h5netcdf")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def require_xarray() -> Any:
    """The module xarray; an `ImportError` that says what to install where it or h5netcdf is missing."""
    try:
        import h5netcdf  # noqa: F401, xarray asks for it only when the file is written
        import xarray
    except ImportError as error:
        raise ImportError(
            f"diagnostics.to_arviz: {error.name} is not installed; use pip install 'holdfast[arviz]'."
        ) from error
    return xarray


def _stats(ensemble: Ensemble, chains: int | None) -> dict[str, Any]:
    """Curves of the sampler that have one value per draw."""
    import numpy as np

    history = ensemble.diagnostics.history if ensemble.diagnostics else {}
    own = curves_of_draws(history, len(ensemble)) if len(ensemble) > 1 else {}
    found = {k: np.asarray(v, dtype=np.float64).reshape(chains or 1, -1) for k, v in own.items()}
    if "leapfrog_steps" in found:
        found["n_steps"] = found.pop("leapfrog_steps").astype(np.int64)
    step = ensemble.diagnostics.summary.get("step_size") if found else None
    if isinstance(step, list) and len(step) == (chains or 1):
        shape = next(iter(found.values())).shape
        found["step_size"] = np.broadcast_to(np.array(step, dtype=np.float64)[:, None], shape)
    if "energy_error" in found:
        error = found["energy_error"]
        found["acceptance_rate"] = np.exp(-np.clip(np.nan_to_num(error, nan=np.inf), 0, None))
        found["diverging"] = ~np.isfinite(error) | (np.abs(np.nan_to_num(error, nan=math.inf)) > DIVERGED)
    return found


def _array(values: Tensor) -> Any:
    return values.detach().cpu().numpy()
