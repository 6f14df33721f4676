"""boundary_map: the heatmaps of one method that explains by boundary points, or of a plain one beside them.

Settings: data, points, draws, pick, `failed`, and `method`: a name of `holdfast.studies.boundary_attributions.METHODS`,
or a function of the museum that takes one network and images. Needs: ensemble, boundary. Result: maps `[B, *image]`,
the mean over draws, NaN for images that are left out: those decided wrongly, and with `failed` "left out" those without
boundary point. With "let in", as published, a failed search counts as a boundary point.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks import Boundary
from holdfast.ensemble import Ensemble
from holdfast.studies.boundary_attributions import METHODS
from holdfast.studies.cells.boundary import Stored, boundary_of
from holdfast.studies.codecs import TensorsCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.functions import function_of
from holdfast.studies.images import test_points


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> Stored:
    """Explain."""
    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    found = boundary_of(needs["boundary"])
    used = explained(settings, found)
    found, rows = replace(found, success=used), used.nonzero()[:, 0]
    maps = torch.full_like(points.images, torch.nan)
    if len(rows):
        maps[rows] = _maps(settings["method"], ensemble, points.images[rows], points.labels[rows], found[rows])
    return {"maps": maps}, {}


def explained(settings: Mapping[str, Any], boundary: Boundary) -> Tensor:
    """Which images have an explanation `[B]`.

    Raises:
        ValueError: `failed` is neither "left out" nor "let in".
    """
    if settings["failed"] not in ("left out", "let in"):
        raise ValueError(f"studies: failed must be 'left out' or 'let in', got {settings['failed']!r}.")
    return ~boundary.misclassified if settings["failed"] == "let in" else boundary.success


def _maps(method: str, ensemble: Ensemble, x: Tensor, y: Tensor, boundary: Boundary) -> Tensor:
    if method in METHODS:
        return METHODS[method](ensemble, x, y, boundary).mean(0)
    return function_of(method)(ensemble.module(0), x)


KIND = Kind(compute, TensorsCodec(), ("attacks", "data", "explanations", "studies/published"))
