"""resilience: how much of every heatmap survives an attack, image by image.

Settings: data, points, draws, pick, seed, and `explain`: rule, layers, k (several), variant of k-LRP, view. Needs:
ensemble, attack. Result: one row per radius, layer, k and image.

Layers are numbers of learnable layers, 0 the first, -1 the last. Views:

    class      the relevance of the class predicted for the clean image, at the images; only for the last layer
    unit       the strongest unit of an inner layer explained at the images, the same unit for the attacked image
    released   the maps as released, see `studies.published.relevance_as_released`

The heatmap of an ensemble is the mean over draws. Beside k-LRP of the mean map stands the mean over draws of each
draw's own k-LRP: averaging maps raises the first and not the second.

A unit of an early convolution sees fewer pixels than k percent of the image. The rest of the k percent are zeros that
no attack moves, and the score cannot fall below their share: with 5 x 5 pixels of 28 x 28 and k = 20, not below 0.84. A
mean over draws that look at different places covers more, so its score can fall lower. `chance`, what another image's
clean map scores, shows how far; `k_lrp_corrected` is k-LRP with that level taken off, 0 at it and 1 for the same map.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from holdfast import scores
from holdfast.ensemble import Ensemble
from holdfast.explanations import lrp, strongest_units
from holdfast.networks import learnable_layers
from holdfast.studies.codecs import TableCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.functions import function_of, rule_of
from holdfast.studies.images import test_points

if TYPE_CHECKING:
    from pandas import DataFrame

RELEASED = {"epsilon": "epsilon", "gamma": "gamma", "alpha_beta": "alpha1"}


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Explain, and score."""
    import pandas

    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    attacked, facts = needs["attack"]
    explain = settings["explain"]
    target = ensemble.predict(points.images, memory=context.memory)
    tables = []
    for layer in explain["layers"]:
        maps = explainer(ensemble, points.images, target, layer, explain, context.memory)
        clean = maps(points.images)
        for moved, epsilon in zip(attacked["images"], facts["epsilons"], strict=True):
            predicted = ensemble.predict(moved, memory=context.memory)
            after = maps(moved)
            rows = {"layer": layer, "epsilon": epsilon, "image": range(len(points)), "label_kept": predicted == target}
            for k, columns in _scores(clean, after, explain, settings["seed"]):
                tables.append(pandas.DataFrame(rows | {"k": k} | columns))
    return pandas.concat(tables, ignore_index=True)


def explainer(
    ensemble: Ensemble, x: Tensor, target: Tensor, layer: int, explain: Mapping[str, Any], memory: int
) -> Any:
    """Images to the maps of all draws `[S, B, *image]`, of the class or unit that was settled on the clean images."""
    last = layer in (-1, len(learnable_layers(ensemble.network)) - 1)
    if explain["view"] == "released":
        released = function_of("holdfast.studies.published.relevance_as_released")
        children = [name for name, _ in ensemble.network.named_children()]
        place = None if last else children.index(learnable_layers(ensemble.network)[layer])
        return lambda images: released(ensemble, images, rule=RELEASED[explain["rule"]], layer=place)
    rule, name = rule_of(explain["rule"]), learnable_layers(ensemble.network)[layer]
    if last:
        return lambda images: lrp(ensemble, images, target, rule=rule, memory=memory)
    units = strongest_units(ensemble, x, name, memory=memory)
    return lambda images: lrp(ensemble, images, units, rule=rule, layer=name, view="unit", memory=memory)


def _scores(
    clean: Tensor, moved: Tensor, explain: Mapping[str, Any], seed: int
) -> Iterator[tuple[float, dict[str, Tensor]]]:
    before, after = clean.mean(0), moved.mean(0)
    alike = {"spearman": scores.spearman(before, after), "cosine": scores.cosine(before, after)}
    variant = explain["variant"]
    for k in explain["k"]:
        kept = scores.k_lrp(before, after, k=k, variant=variant)
        chance = scores.chance_level(scores.k_lrp, before, before, k=k, variant=variant, seed=seed)
        yield (
            k,
            {
                "k_lrp": kept,
                "k_lrp_of_draws": scores.k_lrp(clean, moved, k=k, variant=variant).mean(0),
                "chance": chance,
                "k_lrp_corrected": scores.chance_corrected(kept, chance),
                **alike,
            },
        )


KIND = Kind(compute, TableCodec(), ("attacks", "data", "explanations", "scores", "studies/published"))
