"""trade_off: accuracy and robustness of networks, one row per network.

Settings: data, points, seed, `attack` (function and arguments), `each`: whether every draw is a network of its own
(trained together, as a deep ensemble is) or all of them are one, and `softmax`: "once", or "twice" for the released
score, which takes probabilities for logits. Needs: ensemble. `saturated` is the share of test points whose largest
probability rounds to 1.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast import scores
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.functions import call, function_of
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Attack and score."""
    import pandas

    ensemble = needs["ensemble"]
    networks = [ensemble[s] for s in range(len(ensemble))] if settings["each"] else [ensemble]
    rows = [_row(network, settings, context) for network in track(networks, "attacking networks")]
    return pandas.DataFrame(rows).assign(member=range(len(rows)))


def _row(network: Ensemble, settings: Mapping[str, Any], context: Context) -> dict[str, float]:
    points, memory = test_points(settings, context), context.memory
    attacked = call(settings["attack"], network, points.images, points.labels, seed=settings["seed"], memory=memory)
    clean = network.log_predictive(points.images, memory=memory)
    moved = network.log_predictive(attacked.images[0], memory=memory)
    twice = function_of("holdfast.studies.published.double_softmax_robustness")
    score = twice if settings["softmax"] == "twice" else scores.softmax_robustness
    return {
        "accuracy": float((clean.argmax(-1) == points.labels).double().mean()),
        "attacked_accuracy": float((moved.argmax(-1) == points.labels).double().mean()),
        "robustness": float(score(clean, moved).mean()),
        "saturated": float((clean.exp().amax(-1) == 1).double().mean()),
    }


KIND = Kind(compute, TableCodec(), ("attacks", "data", "scores", "studies/published"))
