"""boundary: the nearest boundary points of test images.

Settings: data, points, draws, pick, seed, `search` (function and arguments), and `smooth` (function and arguments) for
the points of the smoothed classifier. Needs: ensemble. Result: what the search found, to be read by `boundary_of`.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from holdfast.attacks import Boundary
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import TensorsCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.functions import call
from holdfast.studies.images import test_points

Stored = tuple[dict[str, Tensor], dict[str, Any]]
TENSORS = ("points", "success", "misclassified", "own", "other", "distance", "distance_l2", "distance_linf")
TENSORS += ("gap", "gradients")
FACTS = ["found_by", "norm", "tolerance", "settings"]


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> Stored:
    """Search."""
    points = test_points(settings, context)
    ensemble = decider(settings, needs["ensemble"], tuple(points.images.shape[1:]))
    given = {"seed": settings["seed"], "memory": context.memory}
    found = call(settings["search"], ensemble, points.images, points.labels, **given)
    return {name: getattr(found, name) for name in TENSORS}, {name: getattr(found, name) for name in FACTS}


def decider(settings: Mapping[str, Any], ensemble: Ensemble, shape: tuple[int, ...]) -> Ensemble:
    """Whose boundary it is: the draws, or the classifier smoothed by noise."""
    ensemble = draws_of(ensemble, settings)
    return call(settings["smooth"], ensemble, shape) if "smooth" in settings else ensemble


def boundary_of(stored: Stored) -> Boundary:
    """The points of a cell."""
    tensors, facts = stored
    return Boundary(**tensors, **facts | {"found_by": tuple(facts["found_by"])})


KIND = Kind(compute, TensorsCodec(), ("attacks", "data", "studies/published"))
