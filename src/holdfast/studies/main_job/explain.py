"""Explain and score: heatmaps of clean and attacked images, and how much of them survived.

The explained class is the one that the ensemble gives the *clean* image, for every draw and for the attacked image
too, so that a changed label does not by itself change the question. A heatmap is the mean over draws of LRP from that
class's logit; scores compare the clean with the attacked heatmap, at the input and at every hidden learnable layer.
Chance is what the clean heatmap of another image scores: it does not depend on the attack.
"""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from holdfast import explanations, scores
from holdfast.attacks import Attacked
from holdfast.data import Split
from holdfast.ensemble import Ensemble
from holdfast.networks import learnable_layers
from holdfast.studies.codecs import TableCodec
from holdfast.studies.main_job.settings import ATTACKS, MainJob
from holdfast.studies.result import INPUT
from holdfast.studies.run_folder import Artifact, RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame

ROOMS = ("attacks", "explanations", "scores", "studies/main_job")
Maps = dict[str, Tensor]  # layer -> mean heatmap [B, *shape of the layer]
RULE = {"epsilon": explanations.Epsilon(), "gamma": explanations.Gamma(), "alpha_beta": explanations.AlphaBeta(1, 0)}


def explain(
    folder: RunFolder,
    job: MainJob,
    points: Split,
    ensembles: Mapping[str, Artifact[Ensemble]],
    attacked: Mapping[tuple[str, str], Artifact[Attacked]],
    memory: int,
) -> dict[str, Artifact["DataFrame"]]:
    """One table per ensemble: a row per attack, radius, rule, layer and image."""
    tables = {}
    for name, ensemble in ensembles.items():
        own = {kind: attacked[name, kind] for kind in ATTACKS}
        settings = {"attacked": {kind: a.key for kind, a in own.items()}, "rules": job.rules, "k": job.k}
        compute = lambda name=name, ensemble=ensemble, own=own: _score(job, name, ensemble.value, points, own, memory)
        tables[name] = folder.stage(f"scores/{name}", settings | {"seed": job.seed}, compute, TableCodec(), ROOMS)
    return tables


def mean_maps(ensemble: Ensemble, x: Tensor, target: Tensor, rule: str, memory: int) -> Maps:
    """Mean over draws of the class relevance at the input and at the output of every hidden learnable layer."""
    layers = [INPUT, *learnable_layers(ensemble.network)[:-1]]
    return explanations.lrp(ensemble, x, target, rule=RULE[rule], layer=layers, reduce="mean", memory=memory)


def _score(
    job: MainJob,
    name: str,
    ensemble: Ensemble,
    points: Split,
    attacked: Mapping[str, Artifact[Attacked]],
    memory: int,
) -> "DataFrame":
    import pandas

    target = ensemble.predict(points.images, memory=memory)
    rows = []
    for rule in job.rules:
        clean = mean_maps(ensemble, points.images, target, rule, memory)
        for kind, artifact in attacked.items():
            for e, epsilon in enumerate(artifact.value.epsilons):
                moved = mean_maps(ensemble, artifact.value.images[e], target, rule, memory)
                kept = artifact.value.label_kept[e]
                cell = {"ensemble": name, "attack": kind, "epsilon": epsilon, "rule": rule}
                rows += [
                    pandas.DataFrame(cell | columns | {"label_preserved": kept})
                    for columns in _compare(job, clean, moved)
                ]
    return pandas.concat(rows, ignore_index=True)


def _signed(job: MainJob, before: Tensor, after: Tensor, kind: Mapping[str, Any]) -> Tensor:
    """As the papers' code computes it, which is at the input only."""
    return scores.k_lrp(before, after, k=job.k, variant="signed", **kind)


def _compare(job: MainJob, clean: Maps, moved: Maps) -> Iterator[dict[str, object]]:
    for layer, before in clean.items():
        after = moved[layer]
        kind = {"channels": "sum" if layer == INPUT else "separate", "image_axes": before.ndim - 1}
        kept = scores.k_lrp(before, after, k=job.k, **kind)
        chance = scores.chance_level(scores.k_lrp, before, before, k=job.k, seed=job.seed, **kind)
        yield {
            "layer": layer,
            "image": range(len(before)),
            "k_lrp": kept,
            "k_lrp_signed": _signed(job, before, after, kind) if layer == INPUT else math.nan,
            "chance": chance,
            "k_lrp_corrected": scores.chance_corrected(kept, chance),
            "spearman": scores.spearman(before, after, **kind),
            "cosine": scores.cosine(before, after, **kind),
        }
