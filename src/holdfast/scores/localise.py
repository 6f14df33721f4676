"""localise: every localisation score of several explanations, with four maps beside them that know nothing.

    noise        Gaussian noise: what a map scores by chance
    edges        the size of the image's gradient (Sobel): what an edge detector scores, without any network
    centre       a Gaussian blob in the middle, a quarter of the side wide: what the photographer's habit scores
    brightness   the image itself: what a method inherits that multiplies by the image, or by its distance from black

An explanation that does not beat all four has not been shown to see the object. Only images whose region says
something, and for which every explanation has a map, enter the means; the others are counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.checks import check_images
from holdfast.scores.localisation import LOCALISATION
from holdfast.scores.regions import region_masks
from holdfast.scores.statistics import Comparison, compare

if TYPE_CHECKING:
    from pandas import DataFrame

RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Localised:
    """What `localise` found.

    Attributes:
        values: explanation -> score -> values `[B]`, NaN where the score is not defined.
        used: `[B]`, images that enter the means.
        no_region: how many images have an empty region, or one outside the image.
        no_map: how many others lack a finite map of some explanation.
        seed: of the noise and the intervals.
    """

    values: Mapping[str, Mapping[str, Tensor]]
    used: Tensor
    no_region: int
    no_map: int
    seed: int

    def table(self, level: float = 0.95) -> "DataFrame":
        """One row per explanation and score: mean over the images used, its bootstrap interval, how many images."""
        import pandas as pd

        rows = []
        for name, scores in self.values.items():
            for score, values in scores.items():
                numbers = values[self.used].double().numpy()
                numbers = numbers[np.isfinite(numbers)]
                low, high = _interval(numbers, level, self.seed)
                mean = numbers.mean() if len(numbers) else np.nan
                rows.append((name, score, mean, low, high, len(numbers)))
        return pd.DataFrame(rows, columns=["explanation", "score", "mean", "low", "high", "images"])

    def compare(self, first: str, second: str, score: str, level: float = 0.95) -> Comparison:
        """Paired comparison of two explanations on the images for which both have this score.

        Raises:
            ValueError: no such explanation or score, or fewer than two images.
        """
        call = "Localised.compare"
        for name in (first, second):
            if name not in self.values:
                raise ValueError(f"{call}: there is no explanation {name!r}; there are {', '.join(self.values)}.")
        if score not in LOCALISATION:
            raise ValueError(f"{call}: there is no score {score!r}; there are {', '.join(LOCALISATION)}.")
        a, b = (self.values[name][score][self.used].double() for name in (first, second))
        both = a.isfinite() & b.isfinite()
        if int(both.sum()) < 2:
            raise ValueError(
                f"{call}: {first!r} and {second!r} both have {score} on {int(both.sum())} images, at least two are "
                f"needed; of {len(self.used)} images {self.no_region} have no region, {self.no_map} others no map."
            )
        return compare(a[both], b[both], seed=self.seed, level=level)


def localise(maps: Mapping[str, Tensor], region: Tensor, images: Tensor, *, seed: int = 0) -> Localised:
    """Score explanations, and the four maps that know nothing.

    Args:
        maps: name -> maps `[B, C, H, W]` of single images (for an ensemble, one draw or the mean over draws).
        region: boxes `[B, 4]` of whole numbers, or masks `[B, H, W]` of bool.
        images: `[B, C, H, W]`.
        seed: of the noise and the bootstrap.

    >>> images, masks = torch.zeros(3, 1, 8, 8), torch.zeros(3, 8, 8, dtype=torch.bool)
    >>> masks[:2, 2:5, 2:5] = True
    >>> found = localise({"the mask": masks[:, None].float()}, masks, images)
    >>> found.no_region, found.values["the mask"]["energy_game"]
    (1, tensor([1., 1., nan]))
    """
    call = "localise"
    check_images(call, images)
    if images.ndim != 4:
        raise ValueError(f"{call}: images must be [B, C, H, W], got {tuple(images.shape)}.")
    for name, values in maps.items():
        if values.shape != images.shape:
            raise ValueError(
                f"{call}: maps of {name!r} have shape {tuple(values.shape)}, the images {tuple(images.shape)}; for an "
                "ensemble give maps of one draw, maps[0], or their mean, maps.mean(0)."
            )
        if name in ("noise", "edges", "centre", "brightness"):
            raise ValueError(f"{call}: {name!r} is the name of a baseline; choose another.")
    maps = {**maps, **know_nothing(images, seed=seed)}
    _, usable = region_masks(call, region, *images.shape[-2:], len(images))
    finite = torch.stack([values.flatten(1).isfinite().all(1) for values in maps.values()]).all(0)
    found = {
        name: {score: function(values, region) for score, function in LOCALISATION.items()}
        for name, values in maps.items()
    }
    return Localised(found, usable & finite, int((~usable).sum()), int((usable & ~finite).sum()), seed)


def know_nothing(images: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """The four maps that no network was asked for, each of the shape of the images `[B, C, H, W]`.

    >>> [(name, tuple(maps.shape)) for name, maps in know_nothing(torch.rand(2, 3, 8, 8)).items()]
    [('noise', (2, 3, 8, 8)), ('edges', (2, 3, 8, 8)), ('centre', (2, 3, 8, 8)), ('brightness', (2, 3, 8, 8))]
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images)
    sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]).to(images)
    kernel = torch.stack([sobel, sobel.T])[:, None]
    slopes = F.conv2d(F.pad(images.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate"), kernel)
    height, width = images.shape[-2:]
    y, x = (torch.linspace(-0.5, 0.5, side, dtype=images.dtype, device=images.device) for side in (height, width))
    blob = torch.exp(-(y[:, None] ** 2 + x**2) / (2 * 0.25**2))
    edges = torch.hypot(slopes[:, 0], slopes[:, 1]).view_as(images)
    return {"noise": noise, "edges": edges, "centre": blob.expand_as(images).clone(), "brightness": images}


def _interval(values: np.ndarray, level: float, seed: int) -> tuple[float, float]:
    """Percentile interval of the mean over images."""
    if len(values) < 2:
        return np.nan, np.nan
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
