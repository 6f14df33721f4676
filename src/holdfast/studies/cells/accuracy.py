"""accuracy: which decisions are right before and after an attack, and whether the attack can be believed.

Settings: data, points, draws, pick. Needs: ensemble, attack. Result: one row per radius and image. `failed_checks`
names the checks of the attack's own masking report that failed, "" where none did.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.attacks import masking_checks
from holdfast.attacks.attacked import sizes
from holdfast.studies.codecs import TableCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Predict."""
    import pandas

    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    attacked, facts = needs["attack"]
    clean = ensemble.predict(points.images, memory=context.memory) == points.labels
    failed = ", ".join(masking_checks.of(facts["masking"]).failed) if facts["masking"] else ""
    frames = []
    for images, epsilon in zip(attacked["images"], facts["epsilons"], strict=True):
        columns = {
            "epsilon": epsilon,
            "image": range(len(points)),
            "clean_right": clean.double(),
            "right": (ensemble.predict(images, memory=context.memory) == points.labels).double(),
            "size_linf": sizes(images, points.images)[0],
            "failed_checks": failed,
        }
        frames.append(pandas.DataFrame(columns))
    return pandas.concat(frames, ignore_index=True)


KIND = Kind(compute, TableCodec(), ("attacks", "data"))
