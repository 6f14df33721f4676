"""LRP by explicit matrices, one image at a time, in float64: the definition that the engine is tested against.

A network is written down as a list of steps on named activations. Each weighted map is turned into its matrix by
running it on every unit vector; each rule is then the textbook sum over all pairs of inputs and outputs.
"""

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class Affine:
    """dst = norm(module(src)): a weighted map, with a batch norm folded in where one follows."""

    src: str
    dst: str
    module: torch.nn.Module
    norm: torch.nn.Module | None = None


@dataclass
class Scale:
    """dst = batch norm(src) on its own."""

    src: str
    dst: str
    module: torch.nn.Module


@dataclass
class Same:
    """dst = an elementwise function: relevance passes."""

    src: str
    dst: str
    function: object


@dataclass
class Linear:
    """dst = a linear function without weights. `share`: by contribution (averages); else along the transpose."""

    src: str
    dst: str
    function: object
    share: bool = False


@dataclass
class MaxPool:
    src: str
    dst: str
    size: int
    stride: int


@dataclass
class Add:
    first: str
    second: str
    dst: str


@dataclass
class Cat:
    parts: list
    dst: str


def run(steps, x):
    """All activations, by name, of one image."""
    values = {"x": x}
    for s in steps:
        if isinstance(s, Add):
            values[s.dst] = values[s.first] + values[s.second]
        elif isinstance(s, Cat):
            values[s.dst] = torch.cat([values[p] for p in s.parts], 1)
        elif isinstance(s, MaxPool):
            values[s.dst] = F.max_pool2d(values[s.src], s.size, s.stride)
        elif isinstance(s, Affine):
            z = s.module(values[s.src])
            values[s.dst] = z if s.norm is None else s.norm(z)
        else:
            values[s.dst] = (s.module if isinstance(s, Scale) else s.function)(values[s.src])
    return values


def matrix(function, shape):
    """[m, n] of a linear function of a tensor `[1, *shape]`."""
    n = torch.Size(shape).numel()
    eye = torch.eye(n, dtype=torch.float64).view(n, *shape)
    return torch.cat([function(row[None]).reshape(1, -1) for row in eye]).T


def sign(z):
    return torch.where(z >= 0, 1.0, -1.0).to(z)


def size(stabiliser, z):
    if not stabiliser.relative:
        return stabiliser.epsilon
    return stabiliser.epsilon * (z.flatten().square().mean()).sqrt()


def divide(r, z, e):
    return r / (z + sign(z) * e)


def spread(rule, a, w, b, seen, r, biased=True):
    """Relevance of inputs a `[n]` of z = w a + b, w `[m, n]`; `seen` `[m, n]` says which inputs an output has."""
    if rule.bias == "ignore":
        b = torch.zeros_like(b)
    c, z = w * a, w @ a + b
    e = size(rule.stabiliser, z)
    kind = type(rule).__name__
    if kind == "Epsilon":
        parts = [(c, b, z, 1.0)]
    elif kind == "Gamma":
        g, up = rule.gamma, (z >= 0)
        favour = lambda t, up: t + g * torch.where(up, t.clamp(min=0), t.clamp(max=0))
        c, b = favour(c, up[:, None]), favour(b, up)
        parts = [(c, b, c.sum(1) + b, 1.0)]
    elif kind in ("AlphaBeta", "ZPlus"):
        parts = [(c.clamp(min=0), b.clamp(min=0), None, rule.alpha), (c.clamp(max=0), b.clamp(max=0), None, -rule.beta)]
    elif kind == "WSquare":
        e, parts = size(rule.stabiliser, (w * w).sum(1) + b * b), [(w * w, b * b, None, 1.0)]
    elif kind == "Flat":
        ones = seen.to(w)
        one = torch.ones_like(b) if biased and rule.bias != "ignore" else torch.zeros_like(b)
        e, parts = size(rule.stabiliser, ones.sum(1) + one), [(ones, one, None, 1.0)]
    else:
        low, high = (torch.as_tensor(v, dtype=w.dtype).expand(len(a)) for v in (rule.low, rule.high))
        c = c - w.clamp(min=0) * low - w.clamp(max=0) * high
        e, parts = size(rule.stabiliser, c.sum(1) + b), [(c, b, None, 1.0)]
    out = torch.zeros_like(a)
    for c, b, z, by in parts:
        z = c.sum(1) + b if z is None else z
        if kind in ("AlphaBeta", "ZPlus") and by < 0:
            s = r / (z - e)  # a sum of negative contributions: the sign of zero is that of the sum
        else:
            s = divide(r, z, e)
        out += by * (c * s[:, None]).sum(0)
        if rule.bias == "share":
            out += by * (seen * (b * s / seen.sum(1))[:, None]).sum(0)
    return out


def relevance(steps, x, start, choose, sums):
    """Relevance of every activation, by name, of the network `steps` at images `x`; the last step makes the logits.

    `start` maps logits `[1, C]` to where relevance starts, `choose` the index of an affine step to its rule, and `sums`
    is the stabiliser of residual sums and averages.
    """
    return [_one(steps, image[None], start, choose, sums) for image in x]


def _one(steps, x, start, choose, sums):
    with torch.no_grad():
        values = run(steps, x)
        found = {name: torch.zeros_like(v) for name, v in values.items()}
        last = steps[-1].dst
        found[last] = start(values[last])
        index = sum(isinstance(s, Affine) for s in steps)
        for s in reversed(steps):
            r = found[s.dst]
            if isinstance(s, Affine):
                index -= 1
                found[s.src] += _affine(s, values, r, choose(index))
            elif isinstance(s, Scale):
                found[s.src] += _scale(s, values[s.src], r, choose(None))
            elif isinstance(s, Same):
                found[s.src] += r
            elif isinstance(s, Linear):
                a = values[s.src]
                m = matrix(s.function, a.shape[1:])
                z = values[s.dst].flatten()
                t = divide(r.flatten(), z, size(sums, z)) if s.share else r.flatten()
                found[s.src] += ((m.T @ t) * (a.flatten() if s.share else 1)).view_as(a)
            elif isinstance(s, MaxPool):
                found[s.src] += _winners(s, values[s.src], r)
            elif isinstance(s, Add):
                z = values[s.dst]
                t = divide(r, z, size(sums, z))
                found[s.first] += values[s.first] * t
                found[s.second] += values[s.second] * t
            else:
                start_at = 0
                for p in s.parts:
                    width = values[p].shape[1]
                    found[p] += r[:, start_at : start_at + width]
                    start_at += width
    return found


def _scale(s, a, r, rule):
    shift = s.module(torch.zeros_like(a)).flatten()
    w = torch.diag(s.module(torch.ones_like(a)).flatten() - shift)
    return spread(rule, a.flatten(), w, shift, torch.eye(a.numel(), dtype=torch.bool), r.flatten()).view_as(a)


def _affine(s, values, r, rule):
    a = values[s.src]
    free, ones = copy.deepcopy(s.module), copy.deepcopy(s.module)
    for m in (free, ones):
        if m.bias is not None:
            m.bias.zero_()
    ones.weight.fill_(1)
    w = matrix(free, a.shape[1:])
    seen = matrix(ones, a.shape[1:]) > 0.5
    b = s.module(torch.zeros_like(a))
    if s.norm is not None:
        shift = s.norm(torch.zeros_like(b))
        k = (s.norm(torch.ones_like(b)) - shift).flatten()
        w, b = k[:, None] * w, s.norm(b)
    biased = s.norm is not None or s.module.bias is not None
    return spread(rule, a.flatten(), w, b.flatten(), seen, r.flatten(), biased).view_as(a)


def _winners(s, a, r):
    out = torch.zeros_like(a)
    _, channels, height, width = r.shape
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                window = a[0, c, i * s.stride : i * s.stride + s.size, j * s.stride : j * s.stride + s.size]
                row, column = divmod(int(window.flatten().argmax()), window.shape[1])
                out[0, c, i * s.stride + row, j * s.stride + column] += r[0, c, i, j]
    return out
