"""averaging: what is left of gradients or heatmaps when they are averaged over draws, image by image.

Settings: data, points, pick, `counts` (pairs: number of draws in the paper, here), `of` (label -> a name of
`holdfast.studies.averaging.input_vectors`, or "log_predictive"), `maps`: whether the mean maps are kept, and `tangent`
where they are to be split: "known" (of manifolds), "shifts" (of `placed`), or "pca" (of neighbours among the training
images). Needs: ensemble. Result: columns `[counts, B]` of `Average`, as `of/part/column`. Counts beyond the draws that
there are, are left out. Parts:

    all        the whole vector
    tangent    along the manifold
    normal     across it, the rest: where the tangent is known it has two parts in turn,
    inside     those in the directions in which the data vary somewhere, which tell the classes apart,
    outside    and those in which no data vary, of which only the prior, or the start of the training, knows
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from holdfast.data import local_pca, shift_tangents
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.studies.averaging import VECTORS, Average, LogPredictive
from holdfast.studies.codecs import TensorsCodec
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import dataset_of, test_points

Parts = Callable[[Tensor], dict[str, Tensor]]  # vectors [B, F] to their parts by name


def compute(
    settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Average."""
    ensemble = needs["ensemble"]
    counts = [(asked, here) for asked, here in settings["counts"] if here <= len(ensemble)]
    order = _order(len(ensemble), counts[-1][1], settings["pick"])
    chains = _chains(ensemble)
    chains, ensemble = [chains[s] for s in order], ensemble[order]
    points = test_points(settings, context)
    parts = _parts(settings, points, context)
    tensors: dict[str, Tensor] = {}
    for of, kind in settings["of"].items():
        snapshots = list(
            _snapshots(kind, ensemble, chains, points, parts, [here for _, here in counts], context.memory)
        )
        for name in snapshots[0][0]:
            tensors[f"{of}/{name}"] = torch.stack([columns[name] for columns, _ in snapshots])
        if settings.get("maps"):
            tensors[f"{of}/mean"] = torch.stack([mean for _, mean in snapshots]).float()
    log_p = ensemble.logits(points.images, memory=context.memory).double().log_softmax(-1)
    right = [log_p[:here].logsumexp(0).argmax(-1) == points.labels for _, here in counts]
    tensors["right"] = torch.stack(right)
    return tensors, {"draws": [asked for asked, _ in counts], "averaged": [here for _, here in counts]}


def _order(draws: int, count: int, pick: str) -> list[int]:
    """Which draws are averaged, and in which order: "first" as they come, "spread" at random, so over all chains."""
    if pick == "first":
        return list(range(count))
    return torch.randperm(draws, generator=torch.Generator().manual_seed(0))[:count].tolist()


def _chains(ensemble: Ensemble) -> list[int | None]:
    """The chain of every draw, None for draws that are independent."""
    settings = ensemble.diagnostics.settings if ensemble.diagnostics else {}
    if "chains" not in settings:
        return [None] * len(ensemble)
    return [s * settings["chains"] // len(ensemble) for s in range(len(ensemble))]


def _snapshots(
    of: str, ensemble: Ensemble, chains: list[int | None], points: Any, parts: Parts, counts: list[int], memory: int
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Columns by part, and the mean map, at each number of draws."""
    x, y = points.images, points.labels
    predicted = ensemble.predict(x, memory=memory)
    averages: dict[str, Average] = {}
    together = LogPredictive() if of == "log_predictive" else None
    vectors_of = VECTORS["loss" if together else of]
    for s in track(range(len(ensemble)), f"averaging {of}"):
        vectors = vectors_of(ensemble[s], x, y, predicted, memory)
        if together:
            log_p = ensemble[s].logits(x, memory=memory)[0].double().log_softmax(-1)
            together.add(vectors, log_p.gather(-1, y[:, None])[:, 0])
        else:
            for part, piece in parts(vectors).items():
                averages.setdefault(part, Average()).add(piece, chains[s])
        if s + 1 in counts:
            if together:
                averages = {}
                for part, piece in parts(together.gradient).items():
                    averages.setdefault(part, Average()).add(piece)
            columns = {f"{part}/{name}": v for part, a in averages.items() for name, v in a.columns().items()}
            yield columns, averages["all"].mean


def _parts(settings: Mapping[str, Any], points: Any, context: Context) -> Parts:
    """What splits vectors into parts."""
    kind = settings.get("tangent")
    if kind is None:
        return lambda vectors: {"all": vectors}
    if kind == "known":
        along, everywhere = _projection(points.tangents), _projection(_directions(points.images)[None])
    elif kind == "shifts":
        along, everywhere = _projection(shift_tangents(points)), None
    elif kind == "pca":
        along, everywhere = _projection(local_pca(points, dataset_of(settings, context).train)), None
    else:
        raise ValueError(f"averaging: tangent must be 'known', 'shifts' or 'pca', got {kind!r}.")

    def split(vectors: Tensor) -> dict[str, Tensor]:
        tangent = along(vectors)
        found = {"all": vectors, "tangent": tangent, "normal": vectors - tangent}
        if everywhere is not None:
            inside = everywhere(vectors)
            found |= {"inside": inside - tangent, "outside": vectors - inside}
        return found

    return split


def _projection(basis: Tensor) -> Callable[[Tensor], Tensor]:
    """Onto the span of orthonormal columns `[B, F, d]`."""
    basis = basis.double()
    return lambda vectors: (basis @ (basis.mT @ vectors[..., None]))[..., 0]


def _directions(points: Tensor) -> Tensor:
    """Orthonormal basis `[F, r]` of the directions in which points differ."""
    flat = points.flatten(1).double()
    _, sizes, rows = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return rows[sizes > 1e-4 * sizes[0]].T


KIND = Kind(compute, TensorsCodec(), ("attacks", "data", "explanations", "studies/averaging", "studies/published"))
