"""Explainer: relevance of one piece of the work, and how the work is cut into pieces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from holdfast.ensemble import Ensemble
from holdfast.explanations.relevance.composites import Composite
from holdfast.explanations.relevance.heatmap import class_view, trace, unit_view
from holdfast.explanations.relevance.starts import Start
from holdfast.explanations.relevance.tape import module_names
from holdfast.tiles import Tile, tile_shape

_NAMES: WeakKeyDictionary[Ensemble, dict[int, str]] = WeakKeyDictionary()  # an ensemble's network never changes
WIDER = 8  # a piece may be eight times a tile: its notes are dropped as the walk goes
ONE_BY_ONE = 1 << 23  # bytes of activations above which a draw runs alone: no slower, and free in its memory layout


@dataclass(frozen=True)
class Explainer:
    """Explains images under some draws.

    Attributes:
        ensemble: the networks.
        rules: the rule of each map.
        start: where relevance begins.
        layers: the places asked for.
        unit: explain each layer's own strongest unit at the images, not the class at the layer.
        classes: explain every class, along an axis after the images'.
        nonneg: no image has a value below zero.
        maps_per_image: how many maps an image gets: one, or one for each class.
    """

    ensemble: Ensemble
    rules: Composite
    start: Start
    layers: Sequence[str]
    unit: bool = False
    classes: bool = False
    nonneg: bool = False
    maps_per_image: int = 1

    def __call__(self, x: Tensor, targets: Mapping[str, Tensor | None], draws: slice) -> dict[str, Tensor]:
        """Maps `[s, b, ...]` at each layer of the images `[b, ...]`.

        Args:
            x: images.
            targets: for each layer the class or unit `[s, b]`; None for the strongest.
            draws: which draws.
        """
        weights = {k: v[draws] for k, v in self.ensemble.weights.items()}
        if draws.stop - draws.start == 1:
            weights, targets = ({k: v if v is None else v[0] for k, v in d.items()} for d in (weights, targets))
            return {name: m[None] for name, m in self._one(weights, pixels_last(x), targets).items()}
        given = {k: v for k, v in targets.items() if v is not None}
        return torch.vmap(lambda w, t: self._one(w, x, t))(weights, given)

    def _one(self, weights: Mapping[str, Tensor], x: Tensor, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        network = self.ensemble.network
        t = trace("lrp", network, weights, x, self.layers, self._names, self.nonneg, stop=self.unit)
        if self.unit:
            return unit_view(t, self.rules, self.start, targets, self.layers)
        if not self.classes:
            return class_view(t, self.rules, self.start, targets.get(""), self.layers)
        every = []
        for c in range(t.output.shape[-1]):
            target = torch.full((len(x),), c, device=x.device)
            every.append(class_view(t, self.rules, self.start, target, self.layers, again=True))
        return {name: torch.stack([maps[name] for maps in every], 1) for name in self.layers}

    @property
    def _names(self) -> dict[int, str]:
        if self.ensemble not in _NAMES:
            _NAMES[self.ensemble] = module_names(self.ensemble.network)
        return _NAMES[self.ensemble]


def pieces(ensemble: Ensemble, x: Tensor, memory: int, maps: int = 1) -> list[list[Tile]]:
    """The work in pieces, by block of images, all draws of a block in order; fixed by network, draws and images.

    Args:
        ensemble, x: the work.
        memory: budget in bytes.
        maps: how many maps of an image are held at once.
    """
    pair, draws, images = ensemble.pair_bytes(x), len(ensemble), len(x)
    pair += 2 * (maps - 1) * x[0].numel() * x.element_size()
    _, b = tile_shape(-(-pair // WIDER), draws, images, memory // WIDER)
    s = 1 if b * pair >= ONE_BY_ONE else tile_shape(b * pair, draws, 1, memory)[0]
    blocks = []
    for start in range(0, images, b):
        block = slice(start, min(start + b, images))
        blocks.append([Tile(slice(i, min(i + s, draws)), block) for i in range(0, draws, s)])
    return blocks


def pixels_last(x: Tensor) -> Tensor:
    """Images `[B, C, H, W]` on a CPU with channels side by side in memory: faster convolutions and pools."""
    if x.ndim != 4 or x.device.type != "cpu":
        return x
    _, c, h, w = x.shape  # set by hand: torch takes images of one channel for channels-last already
    return torch.empty_strided(x.shape, (h * w * c, 1, w * c, c), dtype=x.dtype).copy_(x)
