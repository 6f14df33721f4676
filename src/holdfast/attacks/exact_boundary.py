"""Exact boundary: the true distance to the decision boundary of a small ReLU network, by walking its linear regions.

Within a region (an activation pattern: which units are on) the network is linear and the region a polytope
`P = {z : A z <= b}`, cut with the pixel range. The distance from x to P, and to the part of P where another class is as
high, are convex problems: least distance for l2 (Lawson and Hanson 1974, chapter 23, by non-negative least squares),
a linear program for linf. The regions that meet a ball around x hang together through their facets. So regions are
visited nearest first, each adding its neighbours (one unit switched), until the next region is farther than the nearest
boundary point found: what is returned is then the distance itself, not a bound. After Jordan, Lewis and Dimakis,
"Provable certificates for adversarial examples: fitting a ball in the union of polytopes" (arXiv 1903.08778).

The number of regions grows fast: this is for tens of units, to say how far `nearest_boundary` is from the truth.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from holdfast.checks import check_images, check_range
from holdfast.progress import track

if TYPE_CHECKING:
    from numpy import ndarray

Nearest = Callable[["ndarray", "ndarray", "ndarray"], "tuple[float, ndarray] | None"]  # x, A, b -> of {z : A z <= b}


def exact_boundary(
    network: nn.Sequential,
    x: Tensor,
    *,
    norm: str = "l2",
    lower: float = 0.0,
    upper: float = 1.0,
    most_regions: int = 20_000,
) -> tuple[Tensor, Tensor]:
    """The nearest point at which another class is as high as the one decided for, and its distance, in float64.

    Args:
        network: `nn.Sequential` of `nn.Linear`, `nn.ReLU`, `nn.Flatten` and `nn.Identity`.
        x: images `[B, *image]`.
        norm: "l2" or "linf".
        lower, upper: the range of valid pixels; infinite for none.
        most_regions: regions visited for one image before giving up.

    Returns:
        distances `[B]` (infinite where the decision is the same in the whole pixel range) and points `[B, *image]` (NaN
        there).

    Raises:
        ValueError: another kind of layer, one class, images of another size or out of range, or more regions than
            allowed.

    >>> network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2, bias=False))
    >>> network[0].weight.data, network[0].bias.data = torch.tensor([[1.], [-1.]]), torch.tensor([-.5, .5])
    >>> network[2].weight.data = torch.tensor([[1., 0.], [0., 3.]])
    >>> exact_boundary(network, torch.tensor([[.7]]))[0]
    tensor([0.2000], dtype=torch.float64)
    """
    call = "exact_boundary"
    check_images(call, x)
    check_range(call, "most_regions", most_regions, 1, 10**9)
    if norm not in ("l2", "linf"):
        raise ValueError(f"{call}: norm must be 'l2' or 'linf', got {norm!r}.")
    if not lower < upper or bool(((x < lower) | (x > upper)).any()):
        raise ValueError(
            f"{call}: images must lie in the pixel range {lower} to {upper}, got values from {float(x.min()):.4g} to "
            f"{float(x.max()):.4g}; rescale them or pass lower= and upper=."
        )
    layers = _layers(call, network)
    inputs, classes = layers[0][0].shape[1], len(layers[-1][1])
    if x[0].numel() != inputs:
        raise ValueError(f"{call}: the network takes {inputs} numbers an image, got images {tuple(x.shape[1:])}.")
    if classes < 2:
        raise ValueError(f"{call}: a decision needs at least two classes; a network of one class has no boundary.")
    nearest = _nearest_l2 if norm == "l2" else _nearest_linf
    flat = x.detach().double().flatten(1).cpu().numpy()
    found = [_walk(call, layers, row, nearest, lower, upper, most_regions) for row in track(flat, "exact boundary")]
    distances = torch.tensor([distance for distance, _ in found], dtype=torch.float64)
    return distances, torch.stack([torch.from_numpy(point) for _, point in found]).view(x.shape)


@dataclass(frozen=True)
class _Region:
    """A linear piece: constraints `A z <= b`, logits `W z + v`."""

    A: "ndarray"
    b: "ndarray"
    W: "ndarray"
    v: "ndarray"


def _walk(
    call: str,
    layers: list[tuple["ndarray", "ndarray"]],
    x: "ndarray",
    nearest: Nearest,
    lower: float,
    upper: float,
    most_regions: int,
) -> tuple[float, "ndarray"]:
    import numpy as np

    start, own = _pattern(layers, x)
    queue, seen = [(0.0, 0, start)], {start}
    best, point, visited = np.inf, np.full_like(x, np.nan), 0
    while queue and queue[0][0] < best:
        _, _, pattern = heapq.heappop(queue)
        visited += 1
        if visited > most_regions:
            raise ValueError(
                f"{call}: more than {most_regions} linear regions within {best:.4g}; use a smaller network."
            )
        region = _region(layers, pattern, lower, upper)
        for other in range(len(region.v)):
            if other != own:
                ahead = region.W[own] - region.W[other], region.v[other] - region.v[own]
                found = nearest(x, np.vstack([region.A, ahead[0]]), np.append(region.b, ahead[1]))
                if found is not None and found[0] < best:
                    best, point = found
        for unit in range(len(pattern)):
            neighbour = pattern[:unit] + bytes([1 - pattern[unit]]) + pattern[unit + 1 :]
            if neighbour in seen:
                continue
            seen.add(neighbour)
            there = _region(layers, neighbour, lower, upper)
            found = nearest(x, there.A, there.b)
            if found is not None and found[0] < best:
                heapq.heappush(queue, (found[0], len(seen), neighbour))
    return best, point


def _pattern(layers: list[tuple["ndarray", "ndarray"]], x: "ndarray") -> tuple[bytes, int]:
    """Which units are on at x, and the decision."""
    on = b""
    for weight, bias in layers[:-1]:
        x = weight @ x + bias
        on += bytes((x > 0).astype("uint8"))
        x = x * (x > 0)
    weight, bias = layers[-1]
    return on, int((weight @ x + bias).argmax())


def _region(layers: list[tuple["ndarray", "ndarray"]], pattern: bytes, lower: float, upper: float) -> _Region:
    import numpy as np

    size = layers[0][0].shape[1]
    W, v, rows, ends, first = np.eye(size), np.zeros(size), [], [], 0
    for weight, bias in layers[:-1]:
        W, v = weight @ W, weight @ v + bias
        on = np.frombuffer(pattern[first : first + len(v)], dtype=np.uint8).astype(float)
        first += len(v)
        sign = 1 - 2 * on  # on: -(W z + v) <= 0; off: W z + v <= 0
        rows.append(sign[:, None] * W)
        ends.append(-sign * v)
        W, v = on[:, None] * W, on * v
    for sign, end in ((1.0, upper), (-1.0, -lower)):
        if np.isfinite(end):
            rows.append(sign * np.eye(size))
            ends.append(np.full(size, end))
    weight, bias = layers[-1]
    return _Region(np.vstack(rows), np.concatenate(ends), weight @ W, weight @ v + bias)


def _nearest_l2(x: "ndarray", A: "ndarray", b: "ndarray") -> tuple[float, "ndarray"] | None:
    """Least distance programming: min |u| with `-A u >= A x - b`, through non-negative least squares."""
    import numpy as np
    from scipy.optimize import nnls

    h = A @ x - b
    if (h <= 0).all():
        return 0.0, x.copy()
    length = np.linalg.norm(A, axis=1)
    keep = length > 1e-14
    if (h[~keep] > 1e-12).any():
        return None
    G, h = -A[keep] / length[keep, None], h[keep] / length[keep]
    goal = np.append(np.zeros(len(x)), 1.0)
    E = np.vstack([G.T, h])
    weights, _ = nnls(E, goal, maxiter=50 * E.shape[1])
    rest = E @ weights - goal
    if -rest[-1] < 1e-12:
        return None
    u = -rest[:-1] / rest[-1]
    if (G @ u < h - 1e-7 * (1 + abs(h))).any():  # so far away that rounding cannot tell it from an empty region
        return None
    return float(np.linalg.norm(u)), x + u


def _nearest_linf(x: "ndarray", A: "ndarray", b: "ndarray") -> tuple[float, "ndarray"] | None:
    """min t with `|z - x| <= t`, `A z <= b`: a linear program in (z - x, t)."""
    import numpy as np
    from scipy.optimize import linprog

    size = len(x)
    ones, eye = np.ones((size, 1)), np.eye(size)
    rows = np.vstack([np.hstack([A, np.zeros((len(A), 1))]), np.hstack([eye, -ones]), np.hstack([-eye, -ones])])
    ends = np.concatenate([b - A @ x, np.zeros(2 * size)])
    goal = np.append(np.zeros(size), 1.0)
    found = linprog(goal, A_ub=rows, b_ub=ends, bounds=[(None, None)] * size + [(0, None)], method="highs")
    return (float(found.x[-1]), x + found.x[:-1]) if found.status == 0 else None


def _layers(call: str, network: nn.Sequential) -> list[tuple["ndarray", "ndarray"]]:
    """Weights and biases of the linear layers, with a ReLU between each two."""
    kinds = [m for m in network.children() if not isinstance(m, nn.Flatten | nn.Identity)]
    right = isinstance(network, nn.Sequential) and len(kinds) % 2 == 1
    right = right and all(isinstance(m, nn.Linear if i % 2 == 0 else nn.ReLU) for i, m in enumerate(kinds))
    if not right:
        raise ValueError(
            f"{call}: expected nn.Sequential of nn.Linear layers with one nn.ReLU between each two, got "
            f"{', '.join(type(m).__name__ for m in kinds) or type(network).__name__}."
        )
    numbers = lambda t: t.detach().double().cpu().numpy()
    return [
        (numbers(m.weight), numbers(m.bias if m.bias is not None else m.weight.new_zeros(m.out_features)))
        for m in kinds[::2]
    ]
