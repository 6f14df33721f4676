"""Layer-wise relevance propagation (LRP): how much each input entry contributed to an output.

Relevance starts at the output to be explained and is handed back layer by layer, each unit's share split over its
inputs by a rule such as epsilon, `R_i = sum_j a_i w_ij / (z_j + e sign z_j) R_j`. Sources: Bach et al. 2015; Montavon
et al. 2019 (rules); Achtibat et al. 2024 (attention). The engine is the relevance tape, see `explanations/relevance`.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import torch
from torch import Tensor, nn

from holdfast.ensemble import Ensemble
from holdfast.explanations.relevance.composites import Composite, composite
from holdfast.explanations.relevance.heatmap import INPUT, check_evaluation, class_view, trace, unit_view
from holdfast.explanations.relevance.rules import Epsilon, Rule
from holdfast.explanations.relevance.starts import Start, check_start
from holdfast.explanations.target import Target, settle
from holdfast.progress import track
from holdfast.tiles import MEMORY, Tile

ONE_BY_ONE = 1 << 22  # bytes of activations of a draw above which draws run in turn: faster than side by side
Maps = Tensor | dict[str, Tensor]


def lrp(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    rule: Rule | Composite | Any = Epsilon(),  # noqa: B008, immutable
    start: Start = "logit",
    layer: str | Sequence[str] | None = None,
    view: Literal["class", "unit"] = "class",
    memory: int = MEMORY,
) -> Maps:
    """Relevance maps of every draw.

    Args:
        ensemble: the networks; a single `nn.Module` is an ensemble of one.
        x: images `[B, ...]`.
        target: the class to explain: one per image `[B]`, or one for all; None for the class of the Bayesian model
            average at `x`, the same for every draw.
        rule: a rule such as `Epsilon()`, a composite such as `epsilon_plus_flat()`, or a function from `Layer` to rule.
        start: "logit" (relevance starts as the logit's value), "one", "margin" (the logit minus the strongest other),
            or a function from logits `[B, C]` to the relevance that starts there.
        layer: None for the images; the name of a module for its output; several names for all of them from one
            forward pass.
        view: "class": the class relevance arriving at the layer. "unit": the layer's own strongest unit explained at
            the images.
        memory: budget in bytes; the answer does not depend on it.

    Returns:
        Maps `[S, B, *shape]`, where shape is that of an image or of the layer; for several layers, a dict by name.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> lrp(net, torch.rand(2, 1, 4, 4), rule=Epsilon(1e-6)).shape
    torch.Size([1, 2, 1, 4, 4])
    """
    if isinstance(ensemble, nn.Module):
        check_evaluation("lrp", ensemble)
    check_start("lrp", start)
    ensemble, target = settle("lrp", ensemble, x, 0 if view == "unit" else target, memory=memory)
    layers = _layers(ensemble.network, layer, view)
    explain = _Explainer(ensemble, composite(rule), start, layers, view, bool((x >= 0).all()))
    maps: dict[str, Tensor] = {}
    with torch.no_grad():
        for tile in _flat(ensemble, x, memory):
            for name, part in explain(x[tile.images], target[tile.images], tile.draws).items():
                if name not in maps:
                    maps[name] = part.new_empty((len(ensemble), len(x), *part.shape[2:]))
                maps[name][tile.draws, tile.images] = part
    return maps if not (layer is None or isinstance(layer, str)) else maps[layers[0]]


class _Explainer:
    """Explains one tile."""

    def __init__(
        self, ensemble: Ensemble, rules: Composite, start: Start, layers: Sequence[str], view: str, nonneg: bool
    ) -> None:
        self.ensemble, self.rules, self.start = ensemble, rules, start
        self.layers, self.view, self.nonneg = layers, view, nonneg

    def __call__(self, x: Tensor, target: Tensor, draws: slice) -> dict[str, Tensor]:
        weights = {k: v[draws] for k, v in self.ensemble.weights.items()}
        if draws.stop - draws.start == 1:
            maps = self._one({k: v[0] for k, v in weights.items()}, x, target)
            return {name: m[None] for name, m in maps.items()}
        return torch.vmap(lambda w: self._one(w, x, target))(weights)

    def _one(self, weights: Mapping[str, Tensor], x: Tensor, target: Tensor) -> dict[str, Tensor]:
        unit = self.view == "unit"
        t = trace("lrp", self.ensemble.network, weights, x, self.layers, self.nonneg, stop=unit)
        if unit:
            return unit_view(t, self.rules, self.start, {}, self.layers)
        return class_view(t, self.rules, self.start, target, self.layers)


def _flat(ensemble: Ensemble, x: Tensor, memory: int) -> Iterator[Tile]:
    tiles = [tile for block in ensemble.tiles(x, memory) for tile in block]
    if (tiles[0].images.stop - tiles[0].images.start) * ensemble.pair_bytes(x) >= ONE_BY_ONE:
        tiles = [Tile(slice(i, i + 1), t.images) for t in tiles for i in range(t.draws.start, t.draws.stop)]
    return track(tiles, "explaining", len(tiles))


def _layers(network: nn.Module, layer: str | Sequence[str] | None, view: str) -> list[str]:
    if view not in ("class", "unit"):
        raise ValueError(f"lrp: view must be 'class' or 'unit', got {view!r}.")
    names = [INPUT] if layer is None else [layer] if isinstance(layer, str) else list(layer)
    if view == "unit" and layer is None:
        raise ValueError("lrp: view='unit' explains a layer's strongest unit; say which with layer='NAME'.")
    known = [INPUT, *dict(network.named_modules())]
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, 3, 0.4) or known[:6]
            raise ValueError(f"lrp: the network has no module '{name}'; near names: {', '.join(map(repr, near))}.")
    return names
