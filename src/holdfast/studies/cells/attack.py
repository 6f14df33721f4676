"""attack: attacked images of an ensemble's test points.

Settings: data, points, draws (how many of the ensemble's, and which), `attack` (function and arguments), seed. Needs:
ensemble. Result: images `[E, B, *image]`, with radii and the figures of the masking checks.

Where the attack's table has a table `explain`, the attack is one on explanations: it is handed the function that
`explain` describes, and the class predicted for the clean image in place of the label.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import TensorsCodec
from holdfast.studies.draws import draws_of
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.functions import call, function_of, rule_of
from holdfast.studies.images import test_points


def compute(
    settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Attack."""
    ensemble, points = draws_of(needs["ensemble"], settings), test_points(settings, context)
    attack = dict(settings["attack"])
    given = {"seed": settings["seed"], "memory": context.memory}
    explain = attack.pop("explain", None)
    if explain is None:
        found = call(attack, ensemble, points.images, points.labels, **given)
    elif "released" in explain:
        found = call(attack, ensemble, points.images, _released(explain["released"]), **given)
    else:
        target = ensemble.predict(points.images, memory=context.memory)
        given |= {
            "explain": _explain(explain),
            "objective": _objective(attack.pop("objective"), ensemble, points.images),
        }
        found = call(attack, ensemble, points.images, target, **given)
    if isinstance(found, Tensor):
        return {"images": found[None]}, {"epsilons": [attack.get("epsilon", 0.0)], "masking": None, "name": "released"}
    masking = dict(found.masking.figures) if found.masking is not None else None
    return {"images": found.images}, {"epsilons": list(found.epsilons), "masking": masking, "name": found.name}


def _explain(settings: Mapping[str, Any]) -> Any:
    from holdfast import explanations

    rule = rule_of(settings["rule"])
    return lambda ensemble, x, y: explanations.lrp(ensemble, x, y, rule=rule, create_graph=True)


def _released(rule: str) -> Any:
    maps = function_of("holdfast.studies.published.relevance_as_released")
    return lambda draw, x: maps(draw, x, rule=rule)[0]


def _objective(settings: Mapping[str, Any], ensemble: Ensemble, x: Tensor) -> Any:
    """The objective on maps: `top_k`, a `region` of random pixels, or the map of another image as `target_map`."""
    from holdfast import attacks

    if settings["name"] == "target_region":
        share = torch.rand(x.shape[-2:], generator=torch.Generator().manual_seed(0))
        return attacks.target_region(share < settings["share"])
    if settings["name"] == "target_map":
        other = x.roll(len(x) // 2 or 1, 0)  # points are ordered by class or at random: half way round is another one
        maps = _explain(settings)(ensemble, other.requires_grad_(), ensemble.predict(other)).mean(0).detach()
        return attacks.target_map(maps)
    return getattr(attacks, settings["name"])(settings["k"])


KIND = Kind(compute, TensorsCodec(), ("attacks", "data", "explanations", "studies/published"))
