"""heatmaps: a few heatmaps before and after an attack, pixel by pixel.

Settings: as for `resilience`, and `examples`, how many of the test points. Needs: ensemble, attack. Result: one row per
layer, example and pixel: the image, the attacked image, the mean map of both, and which pixels are among the top k.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from holdfast import scores
from holdfast.attacks.explanation_objectives import top_pixels
from holdfast.studies.cells.resilience import explainer
from holdfast.studies.codecs import TableCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Explain a few images."""
    import pandas

    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    attacked, explain = needs["attack"][0]["images"][-1], settings["explain"]
    few = slice(0, settings["examples"])
    x, moved = points.images[few], attacked[few]
    target = ensemble.predict(x, memory=context.memory)
    kept = ensemble.predict(moved, memory=context.memory) == target
    k, frames = explain["k"][0], []
    for layer in explain["layers"]:
        maps = explainer(ensemble, x, target, layer, explain, context.memory)
        before, after = maps(x).mean(0), maps(moved).mean(0)
        overlap = scores.k_lrp(before, after, k=k, variant=explain["variant"])
        pixels = {
            "before": before.sum(1),
            "after": after.sum(1),
            "image_value": x.mean(1),
            "attacked_value": moved.mean(1),
        }
        pixels |= {"top_before": top_pixels(before, k), "top_after": top_pixels(after, k)}
        height, width = x.shape[-2:]
        place = torch.arange(height * width)
        for example in range(len(x)):
            columns = {name: values[example].flatten() for name, values in pixels.items()}
            facts = {"layer": layer, "example": example, "label_kept": bool(kept[example]), "k": k}
            facts |= {"k_lrp": float(overlap[example]), "row": place // width, "column": place % width}
            frames.append(pandas.DataFrame(facts | columns))
    return pandas.concat(frames, ignore_index=True)


KIND = Kind(compute, TableCodec(), ("attacks", "data", "explanations", "scores", "studies/published"))
