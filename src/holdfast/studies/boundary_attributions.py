"""Boundary attributions put to the test: do they point at the object, and does the decision follow what they point at?

On images with boxes or exact masks, for one network or ensemble:

- the nearest boundary point of every image, found once and shared by all methods;
- the maps of all methods, the plain ones and those of the boundary;
- every localisation score, beside noise, an edge detector, a central blob and the image's brightness;
- how far each method lies from its boundary variant, as published (l2) and free of scale, and whether images on which
  they agree are those on which the method points at the object (Wang, Fredrikson, Datta, arXiv:2103.11257, figure 3);
- on `placed`: which of two items a method points at, and which of them the decision depends on when it is removed.

Images that are misclassified, without a boundary point, or without a region that says something are counted and left
out of every mean. Of several draws the mean of the maps is taken.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from holdfast import explanations, scores
from holdfast.attacks import Boundary, nearest_boundary
from holdfast.data import PlacedSplit, Split
from holdfast.ensemble import Ensemble
from holdfast.progress import track

if TYPE_CHECKING:
    from pandas import DataFrame

Method = Callable[[Ensemble, Tensor, Tensor, Boundary], Tensor]  # maps [S, B, *image]

POINTS: dict[str, Any] = dict(steps=20, quadrature="trapezoid")  # of integrated gradients, as published
COPIES = 50  # of SmoothGrad


def _plain(method: Callable[..., Tensor], **given: Any) -> Method:
    return lambda ensemble, x, y, boundary: method(ensemble, x, y, **given)


def _boundary(method: Callable[..., Tensor], **given: Any) -> Method:
    return lambda ensemble, x, y, boundary: method(ensemble, x, y, boundary=boundary, **given)


def _squared_saliency(ensemble: Ensemble, x: Tensor, y: Tensor, boundary: Boundary) -> Tensor:
    """What BIG comes close to where the boundary is near: the way from x* to x is then along the gradient itself."""
    return explanations.saliency(ensemble, x, y).square()


def _saliency_of_the_lead(ensemble: Ensemble, x: Tensor, y: Tensor, boundary: Boundary) -> Tensor:
    """The gradient of `f_c - f_c'` at the image: the function whose gradient at the boundary point is BSM."""
    own, other = (explanations.saliency(ensemble, x, classes) for classes in (boundary.own, boundary.other))
    return own - other


def _gradients_times_input(ensemble: Ensemble, x: Tensor, y: Tensor, boundary: Boundary) -> Tensor:
    return x * explanations.boundary_integrated_gradients(ensemble, x, y, boundary=boundary, multiply=False)


def _from_linf(ensemble: Ensemble, x: Tensor, y: Tensor, boundary: Boundary) -> Tensor:
    given = {name: boundary.settings[name] for name in ("steps", "seed")}
    other = nearest_boundary(ensemble, x, norm="linf", **given)
    return explanations.boundary_integrated_gradients(ensemble, x, y, boundary=other)


def _from_mean(ensemble: Ensemble, x: Tensor, y: Tensor, boundary: Boundary) -> Tensor:
    return explanations.integrated_gradients(ensemble, x, y, baseline=x.mean(0), **POINTS)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "BIG": _boundary(explanations.boundary_integrated_gradients),
        "BIG of the lead": _boundary(explanations.boundary_integrated_gradients, rival=True),
        "BIG, gradients alone": _boundary(explanations.boundary_integrated_gradients, multiply=False),
        "BIG's gradients x input": _gradients_times_input,
        "BIG from the linf boundary": _from_linf,
        "BSM": _boundary(explanations.boundary_saliency),
        "BSM as published": _boundary(explanations.boundary_saliency, rival=False),
        "boundary DeepLIFT": _boundary(explanations.boundary_deep_lift),
        "AGI": _plain(explanations.adversarial_gradient_integration),
        "saliency": _plain(explanations.saliency),
        "saliency of the lead": _saliency_of_the_lead,
        "saliency squared": _squared_saliency,
        "gradient x input": _plain(explanations.gradient_times_input),
        "SmoothGrad": _plain(explanations.smooth_grad, copies=COPIES),
        "IG from black": _plain(explanations.integrated_gradients, **POINTS),
        "IG from white": _plain(explanations.integrated_gradients, baseline=1.0, **POINTS),
        "IG from the mean": _from_mean,
        "IG from black, gradients alone": _plain(explanations.integrated_gradients, multiply=False, **POINTS),
        "DeepLIFT": _plain(explanations.deep_lift),
    }
)
PAIRS = (
    ("saliency", "BSM as published"),  # the gradient of f_c, here and there
    ("saliency of the lead", "BSM"),  # the gradient of f_c - f_c', here and there
    ("IG from black", "AGI"),
    ("IG from black", "BIG"),
    ("IG from black", "IG from white"),
    ("IG from black", "IG from the mean"),
    ("BIG", "BIG from the linf boundary"),
    ("BIG", "saliency squared"),
)
DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "l2": scores.l2_distance,
        "relative": scores.relative_distance,
        "cosine": partial(scores.cosine, channels="separate"),
    }
)


@dataclass(frozen=True, eq=False)
class BoundaryAttributions:
    """What the study found.

    Attributes:
        boundary: the boundary points.
        maps: method -> maps `[B, C, H, W]`, the mean over draws; NaN for images without boundary point.
        used: `[B]`, images that enter the means.
        localised: all localisation scores; `.table()` and `.compare(first, second, score)`; None without a region.
        alignment: one row per pair of methods and distance: mean and median over the images used.
        correlation: one row per pair, distance and localisation score of the pair's first method: Spearman's
            correlation over images and its interval. A positive one of cosines, or a negative one of distances, says
            that where the two agree the method points at the object.
        removal: one row per method, and per map that knows nothing of the network, see `removal`; None where the data
            have no second items.
    """

    boundary: Boundary
    maps: Mapping[str, Tensor]
    used: Tensor
    localised: scores.Localised | None
    alignment: "DataFrame"
    correlation: "DataFrame"
    removal: "DataFrame | None"


def boundary_attributions(
    ensemble: Ensemble,
    split: Split,
    *,
    region: Literal["masks", "boxes"] | None = None,
    methods: Mapping[str, Method] = METHODS,
    steps: int = 300,
    seed: int = 0,
) -> BoundaryAttributions:
    """Run the study.

    Args:
        ensemble: one network or several draws.
        split: images, with what `region` asks for.
        region: what the maps are compared with; None for no localisation.
        methods: name -> method, see `METHODS`; `PAIRS` of them are compared with each other.
        steps: gradients of the boundary search for one image.
        seed: of the search, the noise and the intervals.

    >>> list(METHODS)[:4]
    ['BIG', 'BIG of the lead', 'BIG, gradients alone', "BIG's gradients x input"]
    """
    call = "boundary_attributions"
    where = getattr(split, region, None) if region in ("masks", "boxes") else None
    if where is None and region is not None:
        raise ValueError(f"{call}: region must be 'masks' or 'boxes' and the images must have them, got {region!r}.")
    x, y = split.images, split.labels
    boundary = nearest_boundary(ensemble, x, y, steps=steps, seed=seed)
    rows = boundary.success.nonzero()[:, 0]
    maps = {name: torch.full_like(x, torch.nan) for name in methods}
    for name, method in track(methods.items(), "boundary attributions", len(methods)):
        if len(rows):
            maps[name][rows] = method(ensemble, x[rows], y[rows], boundary[rows]).mean(0)
    localised = None if where is None else scores.localise(maps, where, x, seed=seed)
    finite = torch.stack([values.flatten(1).isfinite().all(1) for values in maps.values()]).all(0)
    used = finite if localised is None else localised.used
    alignment, correlation = _alignment(maps, used, localised)
    placed = isinstance(split, PlacedSplit) and bool((split.second_labels >= 0).any())
    found = removal(ensemble, split, maps | scores.know_nothing(x, seed=seed), used) if placed else None
    return BoundaryAttributions(boundary, maps, used, localised, alignment, correlation, found)


def removal(ensemble: Ensemble, split: PlacedSplit, maps: Mapping[str, Tensor], used: Tensor) -> "DataFrame":
    """Of images with two items: does the decision depend on the item that the map points at?

    A map points at the item that holds more of its positive relevance. The decision depends on an item if it changes
    when the item is replaced by the background. Which of the two that is was decided when the images were made: it is
    the brighter one.

    Returns:
        One row per method: `images`; `first`, the share of maps that point at the brighter item; `decisive`, the share
        that point at an item without which the decision changes.
    """
    import pandas as pd

    two = used & (split.second_labels >= 0)
    decided = ensemble.predict(split.images)
    changes = {which: ensemble.predict(split.removed(which)) != decided for which in ("first", "second")}
    rows = []
    for name, values in maps.items():
        positive = values.sum(1).clamp(min=0)
        inside = [(positive * masks).flatten(1).sum(1) for masks in (split.masks, split.second_masks)]
        first = inside[0] > inside[1]
        decisive = torch.where(first, changes["first"], changes["second"])
        rows.append((name, int(two.sum()), *(float(v[two].double().mean()) for v in (first, decisive))))
    return pd.DataFrame(rows, columns=["explanation", "images", "first", "decisive"])


def _alignment(
    maps: Mapping[str, Tensor], used: Tensor, localised: scores.Localised | None
) -> "tuple[DataFrame, DataFrame]":
    import pandas as pd

    distances, correlations = [], []
    pairs = [pair for pair in PAIRS if bool(used.any()) and maps.keys() >= set(pair)]
    for first, second in pairs:
        for name, distance in DISTANCES.items():
            values = distance(maps[first][used], maps[second][used])
            distances.append((first, second, name, float(values.mean()), float(values.median()), len(values)))
            for score, of in localised.values[first].items() if localised else ():
                rho = scores.correlation(values, of[used])
                correlations.append((first, second, name, score, *rho))
    return (
        pd.DataFrame(distances, columns=["first", "second", "distance", "mean", "median", "images"]),
        pd.DataFrame(correlations, columns=["first", "second", "distance", "score", "rho", "low", "high"]),
    )
