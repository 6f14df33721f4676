"""Draws: which of an ensemble's draws a cell takes.

draws   how many; all of them where the ensemble has no more (a deterministic network has one)
pick    "spread": evenly over the ensemble, so over all of its chains; "first": the first ones, as the papers do
"""

from collections.abc import Mapping
from typing import Any

from holdfast.ensemble import Ensemble


def draws_of(ensemble: Ensemble, settings: Mapping[str, Any]) -> Ensemble:
    """Some of the draws.

    >>> import torch
    >>> ensemble = Ensemble.from_networks([torch.nn.Linear(1, 2) for _ in range(10)])
    >>> some = draws_of(ensemble, {"draws": 2, "pick": "spread"})
    >>> bool((some.weights["weight"][1] == ensemble.weights["weight"][5]).all())
    True
    """
    count = min(settings.get("draws") or len(ensemble), len(ensemble))
    pick = settings.get("pick", "spread")
    if pick == "first":
        return ensemble[:count]
    if pick == "spread":
        return ensemble[[i * len(ensemble) // count for i in range(count)]]
    raise ValueError(f"studies: pick must be 'spread' or 'first', got {pick!r}.")
