"""recorded: what released attacks did to an ensemble, in the form of an attack of holdfast, with its masking checks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from holdfast.attacks.attacked import Attacked, sizes
from holdfast.attacks.signs import signs
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble


def recorded(
    name: str,
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    moved: Tensor,
    epsilon: float,
    settings: Mapping[str, Any],
    memory: int,
) -> Attacked:
    """The attack that turned `x` into `moved` under the radius `epsilon` in linf."""
    predicted = ensemble.predict(moved, memory=memory)
    linf, l2 = sizes(moved, x)
    found = Attacked(
        name=name,
        images=moved[None],
        success=(predicted != y)[None],
        clean_predicted=ensemble.predict(x, memory=memory),
        predicted=predicted[None],
        size_linf=linf[None],
        size_l2=l2[None],
        epsilons=(epsilon,),
        settings={"norm": "linf", **settings},
    )
    given = dict(budget=Budget("linf", epsilon), targeted=False, memory=memory)
    return replace(found, masking=signs(ensemble, x, y, found, **given))
