"""holdfast: do a network's explanations hold under attack, and does a Bayesian treatment make them hold?

The rooms, in the order of the data's walk: `data`, `networks`, `inference`, `attacks`, `explanations`, `scores`,
`diagnostics`, `studies`, `report`; `banks` keep draws on disk. Each is imported when it is first used, so
`import holdfast` costs nothing.

>>> import holdfast
>>> len(holdfast.Ensemble.from_networks(holdfast.networks.fc2((2,), 2, width=8)))
1
"""

import importlib
from typing import Any

__version__ = "0.1.0"

ROOMS = (
    "data",
    "networks",
    "inference",
    "attacks",
    "explanations",
    "scores",
    "diagnostics",
    "studies",
    "report",
    "banks",
)
NAMES = {"Ensemble": "ensemble", "Diagnostics": "ensemble", "log_predictive": "ensemble", "Budget": "budget"}
__all__ = [*ROOMS, *NAMES]


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return importlib.import_module(f"holdfast.{name}")
    if name in NAMES:
        return getattr(importlib.import_module(f"holdfast.{NAMES[name]}"), name)
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}; it has {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
