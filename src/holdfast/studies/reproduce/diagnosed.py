"""Diagnosed: cells of a panel's table `posteriors`, one row per ensemble that was fitted."""

from collections.abc import Mapping
from typing import Any

from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.fits import is_derived, is_single, skipped
from holdfast.studies.reproduce.rules import Settled

POINTS, IMAGES = 50, 500  # test points that are explained draw by draw, and that are predicted


def is_diagnosed(settled: Settled, **labels: str) -> bool:
    """Whether a treatment's ensemble is: where the preset asks for it, and the treatment has draws of its own."""
    return settled.preset.diagnose and not any(about(settled, **labels) for about in (skipped, is_single, is_derived))


def diagnosis(settled: Settled, data: str, row: Mapping[str, Any], ensemble: Cell) -> tuple[Mapping[str, Any], Cell]:
    """Labels and cell of what the draws of an ensemble say of themselves.

    Args:
        settled: what names mean.
        data: the panel's.
        row: labels of the ensemble: treatment, seed, and what else there are several of.
        ensemble: its cell.
    """
    settings = {"data": settled.data(data), "points": min(settled.scale.points, POINTS)}
    return row, Cell("diagnosis", settings | {"images": IMAGES, "seed": row["seed"]}, {"ensemble": ensemble})
