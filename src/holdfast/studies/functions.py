"""Functions named in data: `"holdfast.attacks.pgd"` and the arguments it is called with, from a table of settings.

A study file may name functions of holdfast and nothing else. Tables that stand for one of holdfast's types become one:

    training = { epochs = 5 }            holdfast.inference.Training(epochs=5)
    plan = { chains = 2, draws = 10 }    holdfast.inference.Plan(...), given as `preset`
    budget = { norm = "linf", epsilons = 0.2 }    holdfast.budget.Budget(...)
    rule = "epsilon"                     the rule of that name, see RULES
"""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any

RULES = {  # name -> (class of holdfast.explanations, its arguments)
    "epsilon": ("Epsilon", {}),
    "gamma": ("Gamma", {}),
    "alpha_beta": ("AlphaBeta", {"alpha": 1.0, "beta": 0.0}),
}


@cache
def function_of(name: str) -> Callable[..., Any]:
    """The function of holdfast that is called so.

    Raises:
        ValueError: a name outside holdfast, or one that is not there.

    >>> function_of("holdfast.attacks.fgsm").__name__
    'fgsm'
    """
    room, _, short = name.rpartition(".")
    if not room.startswith("holdfast."):
        raise ValueError(f"studies: a study names functions of holdfast, such as 'holdfast.attacks.pgd', got {name!r}.")
    try:
        found = getattr(import_module(room), short)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"studies: there is no {name} ({error}).") from error
    if not callable(found) or not str(getattr(found, "__module__", "")).startswith("holdfast"):
        raise ValueError(f"studies: {name} is not a function of holdfast.")
    return found


def rule_of(name: str) -> Any:
    """The LRP rule of that name.

    >>> rule_of("epsilon")
    Epsilon(...)
    """
    from holdfast import explanations

    if name not in RULES:
        raise ValueError(f"studies: no rule is called {name!r}; there are {', '.join(RULES)}.")
    kind, settings = RULES[name]
    return getattr(explanations, kind)(**settings)


def call(settings: Mapping[str, Any], *inputs: Any, **given: Any) -> Any:
    """Call `settings["function"]` with `inputs`, the other settings, and those of `given` that it takes.

    Raises:
        ValueError: settings that the function does not take.
    """
    function = function_of(settings["function"])
    taken = inspect.signature(function).parameters
    chosen = {name: _value(name, value) for name, value in settings.items() if name != "function"}
    if "plan" in chosen:
        chosen["preset"] = chosen.pop("plan")
    unknown = sorted(set(chosen) - set(taken))
    if unknown:
        raise ValueError(f"studies: {settings['function']} takes no {', '.join(unknown)}; it takes {', '.join(taken)}.")
    return function(*inputs, **{name: value for name, value in given.items() if name in taken} | chosen)


def _value(name: str, value: Any) -> Any:
    from holdfast.budget import Budget
    from holdfast.inference import Plan, Start, Training

    tables = {"training": Training, "plan": Plan, "budget": Budget, "collection": Training, "start": Start}
    if name in tables and isinstance(value, Mapping):
        inner = {k: _value(k, v) for k, v in value.items()}
        return tables[name](**{"start" if k == "training" else k: v for k, v in inner.items()})
    if name == "rule" and isinstance(value, str):
        return rule_of(value)
    return tuple(value) if isinstance(value, list) else value
