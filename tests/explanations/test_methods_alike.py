"""Every explanation method has the same signature, the same kind of result and the same manners."""

import inspect

import pytest
import torch
from torch import nn

from holdfast import explanations
from holdfast.ensemble import Ensemble
from holdfast.tiles import MEMORY

METHODS = [
    "deep_lift",
    "fusion_grad",
    "gradient_times_input",
    "integrated_gradients",
    "lrp",
    "saliency",
    "smooth_grad",
]
EVERY = pytest.mark.parametrize("method", [getattr(explanations, name) for name in METHODS], ids=METHODS)


def ensemble_of(count):
    torch.manual_seed(0)
    make = lambda: nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 8), nn.ReLU(), nn.Linear(8, 4)
    )
    return Ensemble.from_networks([make() for _ in range(count)])


@EVERY
def test_signature(method):
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters[:3]] == ["ensemble", "x", "target"]
    assert parameters[2].default is None
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[3:])
    assert parameters[-1].name == "memory"
    assert parameters[-1].default == MEMORY
    if "seed" in inspect.signature(method).parameters:
        assert inspect.signature(method).parameters["seed"].default == 0


@EVERY
@pytest.mark.parametrize("count", [1, 3])
def test_maps_have_one_entry_for_each_draw_image_and_pixel(method, count):
    ensemble, x = ensemble_of(count), torch.rand(5, 1, 8, 8)
    maps = method(ensemble, x)
    assert maps.shape == (count, 5, 1, 8, 8)
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
    assert maps.isfinite().all()
    assert maps.abs().amax((2, 3, 4)).min() > 0
    torch.testing.assert_close(method(ensemble, x, ensemble.predict(x)), maps)
    assert not torch.allclose(method(ensemble, x, (ensemble.predict(x) + 1) % 4), maps)


@EVERY
def test_a_network_is_an_ensemble_of_one(method):
    ensemble, x = ensemble_of(1), torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(method(ensemble.module(), x), method(ensemble, x))


@EVERY
def test_images_do_not_influence_each_other(method):
    ensemble, x = ensemble_of(2), torch.rand(5, 1, 8, 8)
    settings = {"spread": 1e-3} if "seed" in inspect.signature(method).parameters else {}
    alone = method(ensemble, x[:1], 1, **settings)
    torch.testing.assert_close(method(ensemble, x, 1, **settings)[:, :1], alone, rtol=0.02, atol=2e-3)


@EVERY
@pytest.mark.parametrize(
    ("x", "target", "error", "words"),
    [
        (torch.rand(0, 1, 8, 8), None, ValueError, "at least one image"),
        (torch.full((1, 1, 8, 8), torch.inf), None, ValueError, "64 NaN or infinite values"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), None, TypeError, "must be floating point"),
        (torch.rand(2, 1, 8, 8), 4, ValueError, r"labels must lie in 0\.\.3"),
        (torch.rand(2, 1, 8, 8), torch.tensor([0, -1]), ValueError, r"labels must lie in 0\.\.3"),
        (torch.rand(2, 1, 8, 8), torch.tensor([0]), ValueError, "expected 2 labels"),
        (torch.rand(2, 1, 8, 8), torch.rand(2), TypeError, "labels must be a tensor of integers"),
        (torch.rand(2, 1, 8, 8).double(), 1, TypeError, "use x.to"),
    ],
)
def test_bad_input_never_reaches_a_result(method, x, target, error, words):
    with pytest.raises(error, match=words):
        method(ensemble_of(2), x, target)


@EVERY
def test_what_is_no_model_is_refused(method):
    with pytest.raises(TypeError, match=f"{method.__name__}: expected an Ensemble or"):
        method("network", torch.rand(1, 3))
