"""predictions: what an attack did to the decisions, image by image, and whether it can be believed.

Settings: data, points, draws, pick. Needs: ensemble, attack. Result: one row per radius and image: label, decisions,
size of the perturbation in both norms, softmax robustness (and as released, from a second softmax), and whether the
gradient of the cross-entropy is exactly zero for every draw.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from holdfast import scores
from holdfast.attacks.attacked import sizes
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import TableCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.functions import function_of
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Predict."""
    import pandas

    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    attacked, facts = needs["attack"]
    twice = function_of("holdfast.studies.published.double_softmax_robustness")
    clean = ensemble.log_predictive(points.images, memory=context.memory)
    silent = _zero_gradients(ensemble, points.images, points.labels, context.memory)
    frames = []
    for images, epsilon in zip(attacked["images"], facts["epsilons"], strict=True):
        moved = ensemble.log_predictive(images, memory=context.memory)
        linf, l2 = sizes(images, points.images)
        columns = {
            "epsilon": epsilon,
            "image": range(len(points)),
            "label": points.labels,
            "clean_predicted": clean.argmax(-1),
            "predicted": moved.argmax(-1),
            "size_linf": linf,
            "size_l2": l2,
            "softmax_robustness": scores.softmax_robustness(clean, moved),
            "softmax_robustness_twice": twice(clean, moved),
            "zero_gradients": silent,
        }
        frames.append(pandas.DataFrame(columns))
    return pandas.concat(frames, ignore_index=True)


def _zero_gradients(ensemble: Ensemble, x: Tensor, y: Tensor, memory: int) -> Tensor:
    """Share of the draws whose own cross-entropy has a gradient of exactly zero in the image `[B]`."""
    silent = torch.zeros(len(x))
    for s in range(len(ensemble)):
        loss = lambda logits, images: torch.nn.functional.cross_entropy(logits[0], y[images], reduction="none")
        _, gradient = ensemble[s].value_and_gradient(x, loss, memory=memory)
        silent += (gradient == 0).flatten(1).all(1) / len(ensemble)
    return silent


KIND = Kind(compute, TableCodec(), ("attacks", "data", "scores", "studies/published"))
