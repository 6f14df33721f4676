"""Signs: what every attack says about itself, from up to a hundred of its images spread evenly over the batch.

The same checks as in the masking report, those that are cheap: the model's answers and gradients, per draw and image;
whether the attack beats random noise of the same size and one step; how much of the radius the images that withstood
it were moved by. They cost about 8 forward passes of these images and 2 more per radius.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from holdfast.attacks import masking_checks
from holdfast.attacks.answers import answers
from holdfast.attacks.check import Masking
from holdfast.attacks.objectives import margin, margin_of
from holdfast.budget import Budget
from holdfast.ensemble import Ensemble

if TYPE_CHECKING:
    from holdfast.attacks.attacked import Attacked

SAMPLE = 100
CONTROLS = ("random_noise", "attack_explanation")  # what is not meant to mislead need not beat noise
SINGLE = ("fgsm", "square")  # what need not beat one step: one step itself, and a search without gradients


def signs(
    ensemble: Ensemble, x: Tensor, y: Tensor, attacked: "Attacked", *, budget: Budget, targeted: bool, memory: int
) -> Masking:
    """The cheap checks of an attack's result on images `x` `[B, *image]` with labels, or targets, `y` `[B]`."""
    rows = sample(len(x)).to(x.device)
    x, y, clean = x[rows], y[rows], attacked.clean_predicted[rows]
    figures = {"images": len(x), "draws": len(ensemble), "epsilons": list(budget.epsilons), "targeted": targeted}
    figures |= answers("signs", ensemble, x, clean if targeted else y, memory=memory)
    if figures["deterministic"] and attacked.name not in CONTROLS:
        figures |= _against_weaker(ensemble, x, y, attacked.name, figures, budget=budget, memory=memory)
        figures["accuracy"][attacked.name] = _share(~attacked.success[:, rows])
        figures |= withstanding(attacked, x, budget, rows)
    return masking_checks.of(figures | by_stage(attacked.settings, len(attacked.clean_predicted)))


def by_stage(settings: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Where an attack is several: the share of all images that each broke, at the radius where it broke most."""
    if "broken_by" not in settings:
        return {}
    shares = {stage: max(counts) / images for stage, counts in settings["broken_by"].items()}
    return {"thorough_images": images, "broken_by": shares}


def withstanding(attacked: "Attacked", x: Tensor, budget: Budget, rows: Tensor | slice = slice(None)) -> dict[str, Any]:
    """Of `rows` of the images: how many the attack failed on, and by what part of the radius it had moved them."""
    failed = ~attacked.success[:, rows]
    sizes = [budget.size(images[rows], x) / e for images, e in zip(attacked.images, budget.epsilons, strict=True)]
    return {
        "withstood": failed.sum(1).tolist(),
        "size_share": [s[f].mean().item() if bool(f.any()) else None for s, f in zip(sizes, failed, strict=True)],
    }


def merged(parts: Sequence[Masking]) -> Masking:
    """The checks on all images from checks on some each, of one attack with one setting."""
    found = [part.figures for part in parts]
    images = [f["images"] for f in found]
    figures: dict[str, Any] = {}
    for name in [n for n in found[0] if all(n in f for f in found)]:
        values = [f[name] for f in found]
        if name == "images":
            figures[name] = sum(values)
        elif name == "withstood":
            figures[name] = [sum(v) for v in zip(*values, strict=True)]
        elif name == "zero_gradient_rate_per_image":
            figures[name] = [v for part in values for v in part]
        elif name == "size_share":
            withstood = zip(*(f["withstood"] for f in found), strict=True)
            figures[name] = [_mean(v, w) for v, w in zip(zip(*values, strict=True), withstood, strict=True)]
        elif name in ("draws", "epsilons", "classes"):
            figures[name] = values[0]
        elif name == "thorough_images":
            figures[name] = sum(values)
        else:
            figures[name] = _mean(values, images)
    return masking_checks.of(figures)


def sample(count: int, chosen: int = SAMPLE) -> Tensor:
    """Numbers of up to `chosen` images, spread evenly over `count`."""
    chosen = min(count, chosen)
    return torch.arange(chosen) * count // chosen


def _against_weaker(
    ensemble: Ensemble, x: Tensor, y: Tensor, name: str, figures: Mapping[str, Any], *, budget: Budget, memory: int
) -> dict[str, Any]:
    """Shares of images on which nothing, noise and one step fail."""
    sign = -1 if figures["targeted"] else 1
    fails = lambda images: sign * margin_of(ensemble.log_predictive(images, memory=memory), y) <= 0
    weaker = {"random_noise": torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype).to(x)}
    if figures["differentiable"] and name not in SINGLE:
        _, gradient = ensemble.value_and_gradient(x, lambda z, i: sign * margin(z, y[i]), memory=memory)
        weaker["one_step"] = gradient
    radii = [torch.full((len(x),), e, dtype=x.dtype, device=x.device) for e in budget.epsilons]
    left = {
        weak: _share(torch.stack([fails(budget.linear_optimum(x, direction, r)) for r in radii]))
        for weak, direction in weaker.items()
    }
    return {"accuracy": {"clean": _share(fails(x)[None])[0], **left}}


def _share(values: Tensor) -> list[float]:
    return values.double().mean(1).tolist()


def _mean(values: Sequence[Any], weights: Sequence[float]) -> Any:
    """Weighted mean of numbers, or of lists or mappings of numbers; of booleans whether all hold."""
    if isinstance(values[0], bool):
        return all(values)
    if isinstance(values[0], Mapping):
        return {name: _mean([v[name] for v in values], weights) for name in values[0]}
    if isinstance(values[0], list):
        return [_mean(v, weights) for v in zip(*values, strict=True)]
    pairs = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None and w]
    return sum(v * w for v, w in pairs) / sum(w for _, w in pairs) if pairs else None
