"""A network carries the recipe that builds it again."""

import copy
import json

import pytest
import torch
from torch import nn

from holdfast.ensemble import skeleton
from holdfast.networks import conv, fc2, lenet, normalised, rebuild, resnet, resnet2b, shifted, small

MADE = {
    "fc2": lambda: fc2((1, 28, 28), 10, width=16, activation="relu", seed=3),
    "conv": lambda: conv((1, 28, 28), 4, width=8),
    "small": lambda: small((1, 28, 28), 10, channels=(4, 8), hidden=7),
    "lenet": lambda: lenet((1, 28, 28), 10),
    "resnet": lambda: resnet((3, 32, 32), 10, depth=8),
    "resnet2b": lambda: resnet2b((3, 32, 32), 10),
    "shifted": lambda: shifted(normalised(conv((3, 32, 32), 4, width=8), 0.5, 0.5), (3, 32, 32)),
    "normalised": lambda: normalised(conv((3, 32, 32), 4, width=8), (0.1, 0.2, 0.3), 0.5),
}


def shapes(network):
    return {k: tuple(v.shape) for k, v in network.state_dict().items()}


@pytest.mark.parametrize("name", MADE)
def test_the_recipe_survives_copies_and_json_and_builds_the_same_network(name):
    network = MADE[name]()
    recipe = json.loads(json.dumps(skeleton(copy.deepcopy(network)).recipe))
    again = rebuild(recipe)
    assert recipe["name"] == name
    assert shapes(again) == shapes(network)
    assert str(again) == str(network)
    again.load_state_dict(network.state_dict())
    x = torch.rand(2, *MADE[name]().recipe.get("shape", (3, 32, 32)))
    assert torch.equal(again.eval()(x), network.eval()(x))


def test_what_no_factory_made_has_no_recipe():
    assert not hasattr(normalised(nn.Sequential(nn.Linear(2, 2)), 0.0, 1.0), "recipe")
    with pytest.raises(ValueError, match="there is no recipe"):
        rebuild(None)
    with pytest.raises(ValueError, match="does not fit this version"):
        rebuild({"name": "fc2", "shape": [2], "classes": 2, "depth": 4})
    with pytest.raises(ValueError, match="no network called 'vgg'"):
        rebuild({"name": "vgg", "shape": [2], "classes": 2})
