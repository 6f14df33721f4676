"""Cutting planes: the last digits of an l2 distance, where a boundary is made of flat pieces that meet in edges.

    z <- argmin { |z - x|_2 : m_k + <g_k, z - z_k> >= 0 for the last points z_k, lower <= z <= upper }

`m_k` and `g_k` are the margin and its gradient at `z_k`. In a network of ReLUs each of them is the half-space of one
linear piece. Searches that step along one gradient at a time creep where the nearest point lies on an edge between
pieces, or on a face of the pixel range; here each piece met so far, and the pixel range, is a constraint of a small
convex problem, which is solved (Kelley 1960 for convex sets). The far side is not convex everywhere: where the half-
spaces leave nothing nearer than the point known, the search forgets them and begins again a little way from it.
"""

import torch
from torch import Tensor

from holdfast.attacks.search import Search
from holdfast.progress import track

PLANES = 6  # kept of every row
NEWTON = 20  # steps for the convex problem
HALVINGS = 6  # lengths tried of each
AROUND = (1e-3, 0.3)  # how far from the known point to begin again, in parts of its distance, the least and the most


def cut_planes(search: Search, steps: int, generator: torch.Generator, inside: float) -> None:
    """Bring the points found nearer, with `steps` gradients a row.

    Args:
        search: an l2 search whose best points are on the far side; rows without one are left alone.
        steps: gradients of each row.
        generator: for the new beginnings.
        inside: by how much the margin is to pass zero, so that rounding does not undo what was found.
    """
    rows = search.success.nonzero()[:, 0]
    if not len(rows):
        return
    x = search.x[rows].flatten(1)
    low, high = (end.expand_as(search.x[:1]).flatten(1) for end in search.budget.bounds(search.x))
    planes = x.new_zeros(len(rows), PLANES, x.shape[1])
    ends = x.new_full((len(rows), PLANES), -1.0)  # half-spaces <plane, z> >= end; 0 >= -1 always holds
    z = search.best[rows].flatten(1)
    scales = torch.logspace(*(torch.tensor(AROUND).log10().tolist()), steps).tolist()
    for step in track(range(steps), "cutting planes"):
        value, gradient = search.gradient(z.view_as(search.x[rows]), rows)
        gradient = gradient.flatten(1)
        length = gradient.norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)
        planes, ends = planes.roll(1, 1), ends.roll(1, 1)
        planes[:, 0] = gradient / length[:, None]
        ends[:, 0] = (planes[:, 0] * z).sum(1) - (value - inside) / length
        z = nearest_in_half_spaces(x, planes, ends, low, high)
        best = search.best[rows].flatten(1)
        known = (best - x).norm(dim=1)
        stuck = ~((z - x).norm(dim=1) < known * (1 - 1e-6))
        away = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
        away = away / away.norm(dim=1, keepdim=True) * (known * scales[step])[:, None]
        z = torch.where(stuck[:, None], (best + away).clamp(low, high), z)
        planes[stuck], ends[stuck] = 0.0, -1.0


def nearest_in_half_spaces(x: Tensor, planes: Tensor, ends: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The nearest point `[B, d]` to each `x` within `<planes, z> >= ends` and `low <= z <= high`.

    The dual has one multiplier a half-space: `z = clip(x + sum_k l_k planes_k)`. Newton's method on those that are
    positive or violated, of each step the length at which the dual is highest. Where nothing satisfies all half-spaces
    the answer satisfies not all of them.

    Args:
        x: `[B, d]`.
        planes, ends: `[B, K, d]` and `[B, K]`.
        low, high: of the pixels, of a shape that broadcasts to `x`.

    >>> planes, ends = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0.5, 0.2]])
    >>> nearest_in_half_spaces(torch.tensor([[0.1, 0.1]]), planes, ends, torch.tensor(0.0), torch.tensor(1.0))
    tensor([[0.5000, 0.2000]])
    """
    weights = torch.zeros_like(ends)
    ridge = 10 * torch.finfo(x.dtype).eps * torch.eye(ends.shape[1], dtype=x.dtype, device=x.device)
    lengths = 0.5 ** torch.arange(HALVINGS, dtype=x.dtype, device=x.device)

    def dual(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The dual's value `[...]` at multipliers `[..., K]`, its slope, and which pixels are free."""
        moved = x + torch.einsum("...bk,bkd->...bd", weights, planes)
        z = moved.clamp(low, high)
        missing = ends - torch.einsum("bkd,...bd->...bk", planes, z)
        return (z - x).square().sum(-1) / 2 + (weights * missing).sum(-1), missing, moved == z

    for _ in range(NEWTON):
        _, missing, within = dual(weights)
        active = (weights > 0) | (missing > 0)
        if not bool((missing.abs() * active > torch.finfo(x.dtype).eps).any()):
            break
        free = planes * (within[:, None] & active[..., None])
        curvature = free @ free.mT + ridge + torch.diag_embed((~active).to(x.dtype))
        step, _ = torch.linalg.solve_ex(curvature, (missing * active)[..., None])
        step = step[..., 0].nan_to_num(0.0, 0.0, 0.0)
        tried = (weights + lengths[:, None, None] * step).clamp(0, 1e6)
        weights = tried.gather(0, dual(tried)[0].argmax(0)[None, :, None].expand(1, *weights.shape))[0]
    return (x + torch.einsum("bk,bkd->bd", weights, planes)).clamp(low, high)
