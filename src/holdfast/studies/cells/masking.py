"""masking: the masking report of an ensemble, over the attacks that a study made on it.

Settings: data, points, draws, pick, seed. Needs: ensemble, and attacked images as `random_noise`, `one_step`,
`many_steps`. Result: one row per check, with its sentence. Where one step does less than noise, or many steps less than
one, the check `order` fails: then accuracy under these attacks says nothing about robustness.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from holdfast.attacks import masking_report
from holdfast.attacks.attacked import Attacked, sizes
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import TableCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Report."""
    import pandas

    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    x, y = points.images, points.labels
    made = {role: need for role, need in needs.items() if role != "ensemble"}
    epsilon = next(iter(made.values()))[1]["epsilons"][0]
    attacked = {role: _attacked(ensemble, x, y, images["images"], epsilon) for role, (images, _) in made.items()}
    found = masking_report(
        ensemble, x, y, budget=Budget("linf", epsilon), attacked=attacked, seed=settings["seed"], memory=context.memory
    )
    rows = [{"check": c.name, "passed": c.passed, "sentence": c.sentence} for c in found.checks]
    return pandas.DataFrame(rows)


def _attacked(ensemble: Ensemble, x: Tensor, y: Tensor, images: Tensor, epsilon: float) -> Attacked:
    predicted = ensemble.predict(images[0])[None]
    linf, l2 = sizes(images[:1], x)
    clean = ensemble.predict(x)
    return Attacked("given", images[:1], predicted != y, clean, predicted, linf, l2, (epsilon,), {"norm": "linf"})


KIND = Kind(compute, TableCodec(), ("attacks", "data"))
