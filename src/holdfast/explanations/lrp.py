"""Layer-wise relevance propagation (LRP): how much each input entry contributed to an output.

Relevance starts at the output to be explained and is handed back layer by layer, each unit's share split over its
inputs by a rule such as epsilon, `R_i = sum_j a_i w_ij / (z_j + e sign z_j) R_j`. Sources: Bach et al. 2015; Montavon
et al. 2019 (rules); Achtibat et al. 2024 (attention). The engine is the relevance tape, see `explanations/relevance`.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from holdfast.checks import check_count, check_labels
from holdfast.ensemble import Ensemble
from holdfast.explanations.relevance.composites import Composite, composite
from holdfast.explanations.relevance.explainer import Explainer, pieces
from holdfast.explanations.relevance.heatmap import INPUT, Trace, trace
from holdfast.explanations.relevance.precision import products_in
from holdfast.explanations.relevance.reductions import Reduction, parts, reduction
from holdfast.explanations.relevance.rules import Epsilon, Rule
from holdfast.explanations.relevance.starts import Start, check_start
from holdfast.explanations.relevance.tape import module_names
from holdfast.explanations.target import as_ensemble, check_fit
from holdfast.progress import track
from holdfast.tiles import MEMORY, Tile, Walk

Maps = Tensor | dict[str, Tensor]
_CLASS_COUNTS: WeakKeyDictionary[Ensemble, dict[tuple, int]] = WeakKeyDictionary()


def lrp(
    ensemble: Ensemble | nn.Module,
    x: Tensor,
    target: Tensor | int | Literal["all"] | Mapping[str, Tensor] | None = None,
    *,
    rule: Rule | Composite | Any = Epsilon(),  # noqa: B008, immutable
    start: Start = "logit",
    layer: str | Sequence[str] | None = None,
    view: Literal["class", "unit"] = "class",
    reduce: str | Reduction | None = None,
    create_graph: bool = False,
    precision: Literal["float32", "bfloat16"] = "float32",
    memory: int = MEMORY,
) -> Maps:
    """Relevance maps of every draw, or what `reduce` keeps of them.

    Args:
        ensemble: the networks; a single `nn.Module` is an ensemble of one.
        x: images `[B, ...]`.
        target: the class to explain: one per image `[B]`, one for all, "all" for every class, or None for the class of
            the Bayesian model average at `x`, the same for every draw. With `view="unit"`: the flat index of the unit,
            `[B]` or `[S, B]` (for several layers a dict by name), see `strongest_units`; None for the strongest at `x`.
        rule: a rule such as `Epsilon()`, a composite such as `epsilon_plus_flat()`, or a function from `Layer` to rule.
        start: "logit" (relevance starts as the logit's value), "one", "margin" (the logit minus the strongest other),
            or a function from logits `[B, C]` (or activations, for units) to the relevance that starts there.
        layer: None for the images; the name of a module for its output ("" for the logits, "input" for the images);
            several names for all of them from one forward pass.
        view: "class": the class relevance arriving at the layer. "unit": the layer's own strongest unit explained at
            the images. A batch norm is folded into the map before it, whose output then shows the relevance after it.
        reduce: None for all draws; "mean", "variance", "median", `Quantiles(...)` or `TopCounts(...)` over draws.
        create_graph: make the maps differentiable in `x`, for attacks on them; then `memory` bounds nothing, and all
            draws are returned.
        precision: "bfloat16" multiplies float32 matrices in bfloat16 where the processor does that faster; the relative
            error of a map is then about 2e-2, see `relevance.precision`.
        memory: budget in bytes; from 512 MiB up the answer is the same to the last bit.

    Returns:
        Maps `[S, B, *shape]` (`[S, B, C, *shape]` for all classes), where shape is that of an image or of the layer;
        without `S` where draws are reduced. For several layers, a dict by name.

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.
        NotImplementedError: the network calls a function that has no rule; which, in which module, and the remedy.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> x = torch.rand(2, 1, 4, 4)
    >>> lrp(net, x, rule=Epsilon(1e-6)).shape
    torch.Size([1, 2, 1, 4, 4])
    >>> {name: m.shape[2:] for name, m in lrp(net, x, layer=["input", "1"]).items()}
    {'input': torch.Size([1, 4, 4]), '1': torch.Size([8])}
    """
    ensemble = as_ensemble("lrp", ensemble)
    check_fit("lrp", ensemble, x)
    check_start("lrp", start)
    check_count("lrp", "memory", memory, high=1 << 60)
    kind = reduction("lrp", reduce)
    layers = _layers("lrp", ensemble.network, layer, view)
    targets = _targets(ensemble, x, target, view, layers, memory)
    explain = Explainer(
        ensemble,
        composite("lrp", rule, ensemble.network),
        start,
        layers,
        unit=view == "unit",
        classes=isinstance(target, str),
        nonneg=bool((x.detach() >= 0).all()),
        maps_per_image=_class_count("lrp", ensemble, x) if isinstance(target, str) else 1,
    )
    if create_graph and kind is not None:
        raise ValueError("lrp: create_graph=True returns the maps of all draws; leave reduce out and reduce them.")
    with products_in("lrp", precision):
        if create_graph:
            maps = _with_graph(explain, x, targets, memory)
        elif kind is None:
            maps = _all_draws(explain, x, targets, memory)
        else:
            maps = _reduced(explain, x, targets, kind, memory)
    return maps[layers[0]] if layer is None or isinstance(layer, str) else maps


def strongest_units(ensemble: Ensemble | nn.Module, x: Tensor, layer: str, *, memory: int = MEMORY) -> Tensor:
    """The flat index `[S, B]` of the largest activation at the output of module `layer`, for each draw.

    Give it to `lrp(..., target=..., layer=layer, view="unit")` to explain the same unit at another image.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> strongest_units(net, torch.rand(2, 4), "1").shape
    torch.Size([1, 2])
    """
    ensemble = as_ensemble("strongest_units", ensemble)
    check_fit("strongest_units", ensemble, x)
    (layer,) = _layers("strongest_units", ensemble.network, layer, "unit")
    names = module_names(ensemble.network)

    def one(weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
        t = trace("strongest_units", ensemble.network, weights, images, [layer], names, stop=True)
        return t.values[layer].flatten(1).argmax(1)

    def strongest(tile: Tile) -> Tensor:
        return torch.vmap(one, (0, None))({k: v[tile.draws] for k, v in ensemble.weights.items()}, x[tile.images])

    found = torch.empty(len(ensemble), len(x), dtype=torch.int64, device=x.device)
    with torch.no_grad():
        for tile, units in Walk().tiles(_tracked(pieces(ensemble, x, memory)), strongest):
            found[tile.draws, tile.images] = units
    return found


@torch.no_grad()
def _all_draws(explain: Explainer, x: Tensor, targets: dict, memory: int) -> dict[str, Tensor]:
    maps: dict[str, Tensor] = {}
    draws = len(explain.ensemble)
    work = lambda tile: explain(x[tile.images], _at(targets, tile), tile.draws)
    for tile, explained in Walk().tiles(_tracked(pieces(explain.ensemble, x, memory, explain.maps_per_image)), work):
        for name, part in explained.items():
            if name not in maps:
                maps[name] = part.new_empty((draws, len(x), *part.shape[2:]))
            maps[name][tile.draws, tile.images] = part
    return maps


def _with_graph(explain: Explainer, x: Tensor, targets: dict, memory: int) -> dict[str, Tensor]:
    """The same in new tensors, so that derivatives find their way back."""
    blocks = []
    with torch.enable_grad():
        for block in pieces(explain.ensemble, x, memory):
            found = [explain(x[tile.images], _at(targets, tile), tile.draws) for tile in block]
            blocks.append({name: torch.cat([maps[name] for maps in found]) for name in found[0]})
    return {name: torch.cat([maps[name] for maps in blocks], 1) for name in blocks[0]}


@torch.no_grad()
def _reduced(explain: Explainer, x: Tensor, targets: dict, kind: Reduction, memory: int) -> dict[str, Tensor]:
    """Reduce block by block; in several passes over a block where its draws do not fit into memory."""
    done: dict[str, list[Tensor]] = {}
    blocks = track(pieces(explain.ensemble, x, memory, explain.maps_per_image), "explaining")
    for _, results in Walk().blocks(blocks, lambda block: _reduced_block(explain, x, targets, kind, memory, block)):
        for name, reduced in results.items():
            done.setdefault(name, []).append(reduced)
    image_axis = 1 if getattr(kind, "q", (0,))[1:] else 0
    return {name: torch.cat(found, image_axis) for name, found in done.items()}


def _reduced_block(
    explain: Explainer, x: Tensor, targets: dict, kind: Reduction, memory: int, block: list[Tile]
) -> dict[str, Tensor]:
    results: dict[str, list[Tensor]] = {}
    passes, part = 1, 0
    while part < passes:
        streams, shapes = {}, {}
        for tile in block:
            for name, maps in explain(x[tile.images], _at(targets, tile), tile.draws).items():
                shapes[name] = maps.shape[1:]
                size = maps[0].numel() * maps.element_size()
                entries = maps[0, 0].numel()
                passes = max(passes, min(entries, parts(kind, len(explain.ensemble), size, memory)))
                stream = streams.setdefault(name, kind.stream(len(explain.ensemble)))
                stream.add(maps.flatten(2).tensor_split(passes, -1)[part])
        for name, stream in streams.items():
            results.setdefault(name, []).append(stream.result())
        part += 1
    return {name: torch.cat(found, -1).unflatten(-1, shapes[name][1:]) for name, found in results.items()}


def _tracked(blocks: list[list[Tile]]) -> Iterator[Tile]:
    tiles = [tile for block in blocks for tile in block]
    return track(tiles, "explaining", len(tiles))


def _at(targets: dict[str, Tensor | None], tile: Tile) -> dict[str, Tensor | None]:
    return {name: t if t is None else t[tile.draws, tile.images] for name, t in targets.items()}


def _layers(call: str, network: nn.Module, layer: str | Sequence[str] | None, view: str) -> list[str]:
    if view not in ("class", "unit"):
        raise ValueError(f"{call}: view must be 'class' or 'unit', got {view!r}.")
    if layer is not None and not isinstance(layer, str | Sequence):
        raise TypeError(f"{call}: layer must be the name of a module, or a list of names, got {layer!r}.")
    names = [INPUT] if layer is None else [layer] if isinstance(layer, str) else list(dict.fromkeys(layer))
    if not names:
        raise ValueError(f"{call}: layer is an empty list; name at least one module, or leave it out for the images.")
    if view == "unit" and INPUT in names:
        raise ValueError(f"{call}: view='unit' explains a layer's strongest unit; say which with layer='NAME'.")
    if names == [INPUT]:
        return names
    known = [INPUT, *dict(network.named_modules())]
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, 3, 0.4) or known[:6]
            raise ValueError(f"{call}: the network has no module {name!r}; near names: {', '.join(map(repr, near))}.")
    return names


def _targets(
    ensemble: Ensemble, x: Tensor, target: Any, view: str, layers: Sequence[str], memory: int
) -> dict[str, Tensor | None]:
    """For the class (key "") or for each layer's unit: index `[S, B]`; None for the strongest."""
    shape = (len(ensemble), len(x))
    if view == "unit":
        given = target if isinstance(target, Mapping) else dict.fromkeys(layers, target)
        for name in given.keys() - set(layers):
            raise ValueError(f"lrp: units are given for layer {name!r}, which is not among those asked for: {layers}.")
        sizes = {name: v[0].numel() for name, v in tried("lrp", ensemble, x, layers).values.items()}
        return {name: _units(name, given.get(name), shape, x.device, sizes[name]) for name in layers}
    if isinstance(target, str):
        if target != "all":
            raise ValueError(f"lrp: target must be a class, one class per image, 'all' or None, got {target!r}.")
        return {}
    return {"": class_targets("lrp", ensemble, x, target, memory)}


def class_targets(call: str, ensemble: Ensemble, x: Tensor, target: Tensor | int | None, memory: int) -> Tensor:
    """The class to explain `[S, B]`: as given, or that of the Bayesian model average."""
    classes = _class_count(call, ensemble, x)
    if target is None:
        target = ensemble.predict(x, memory=memory)
    elif isinstance(target, int) and not isinstance(target, bool):
        target = torch.full((len(x),), target)
    check_labels(call, target, len(x), classes)
    return target.to(x.device).expand(len(ensemble), len(x))


def _class_count(call: str, ensemble: Ensemble, x: Tensor) -> int:
    """How many classes there are, found by trying one image; an ensemble never changes, so once is enough."""
    known, key = _CLASS_COUNTS.setdefault(ensemble, {}), (x.shape[1:], x.dtype, x.device)
    if key not in known:
        known[key] = tried(call, ensemble, x).output.shape[-1]
    return known[key]


def tried(call: str, ensemble: Ensemble, x: Tensor, layers: Sequence[str] = ()) -> Trace:
    """One image under one draw on a watchful tape: what cannot be explained is refused before any work."""
    weights = {k: v[0].detach().clone() for k, v in ensemble.weights.items()}
    with torch.enable_grad():
        image = x[:1].detach().requires_grad_()
        try:
            found = trace(call, ensemble.network, weights, image, layers, module_names(ensemble.network), watch=True)
        except NotImplementedError:
            raise
        except RuntimeError:
            ensemble.pair_bytes(x)  # says so where the network does not take images of this shape
            raise
    if not torch.isfinite(found.output).all():
        raise ValueError(f"{call}: the network returns NaN or infinite logits; look at its weights.")
    return found


def _units(name: str, units: Tensor | None, shape: tuple[int, int], device: torch.device, size: int) -> Tensor | None:
    if units is None:
        return None
    if not isinstance(units, Tensor) or units.is_floating_point() or tuple(units.shape) not in (shape, shape[1:]):
        got = tuple(units.shape) if isinstance(units, Tensor) else type(units).__name__
        raise ValueError(
            f"lrp: the units of layer '{name}' must be indices [B] or [S, B] = {shape}, got {got}; "
            "strongest_units(...) gives them."
        )
    if int(units.min()) < 0 or int(units.max()) >= size:
        raise ValueError(
            f"lrp: layer '{name}' has units 0..{size - 1}, got indices from {int(units.min())} to {int(units.max())}."
        )
    return units.to(device).expand(shape)
