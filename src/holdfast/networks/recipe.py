"""Recipe: how a network was built, as JSON, so that a file of weights is enough to build it again.

Factories of this room leave their name and arguments on the network, in its attribute `recipe`; `normalised` and
`shifted` add themselves around it. Copies of the network keep it, and banks of draws write it into their manifest.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])


def leaves_recipe(factory: Factory) -> Factory:
    """Decorate a factory `(shape, classes, ..., seed) -> nn.Module` so that its networks carry their recipe."""
    signature = inspect.signature(factory)

    @functools.wraps(factory)
    def build(*args: Any, **settings: Any) -> nn.Module:
        network = factory(*args, **settings)
        bound = signature.bind(*args, **settings)
        bound.apply_defaults()
        chosen = {k: _plain(v) for k, v in bound.arguments.items() if k != "seed"}
        network.recipe = {"name": factory.__name__, **chosen}
        return network

    return build


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def rebuild(recipe: Mapping[str, Any] | None) -> nn.Module:
    """Build a network again from its recipe, with weights of seed 0.

    Raises:
        ValueError: no recipe, or one that this version cannot follow.

    >>> from holdfast.networks import fc2, normalised
    >>> rebuild(normalised(fc2((2,), 2, width=8), 0.5, 0.25).recipe)[2]
    Linear(in_features=2, out_features=8, bias=True)
    """
    from holdfast.networks.build import build
    from holdfast.networks.normalise import normalised
    from holdfast.networks.shifted import shifted

    if not isinstance(recipe, Mapping) or "name" not in recipe:
        raise ValueError(
            "networks.rebuild: there is no recipe; a network that no factory of holdfast.networks made must be built "
            "by hand."
        )
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.items() if k != "name"}
    try:
        if recipe["name"] == "normalised":
            return normalised(rebuild(recipe.get("network")), settings["mean"], settings["std"])
        if recipe["name"] == "shifted":
            return shifted(rebuild(recipe.get("network")), settings["shape"])
        return build(recipe["name"], settings.pop("shape"), settings.pop("classes"), **settings)
    except (KeyError, TypeError) as error:
        raise ValueError(f"networks.rebuild: the recipe {dict(recipe)} does not fit this version ({error}).") from error
