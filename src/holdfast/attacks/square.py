"""Square: random search with square patches, without gradients (Andriushchenko et al. 2020, arXiv 1912.00049).

Begin with vertical stripes of `+-e` (linf) or a grid of bumps (l2, l1). Then, query by query, change one square patch
at a random place and keep the change where the objective rose. In linf a patch is set to `+-e` per channel; in l2 and
l1 a patch takes over the size of another one, which is emptied, and what is left of the radius. The side of the patch
shrinks with the queries on a fixed schedule. It needs the ensemble's answers only, so masked gradients cannot stop it.
"""

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.attacks.objectives import ObjectiveFunction, name_of
from holdfast.attacks.search import Search
from holdfast.budget import Budget
from holdfast.checks import check_count, check_range, check_seed
from holdfast.ensemble import Ensemble
from holdfast.progress import track
from holdfast.tiles import MEMORY

HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # share of the queries after which the area is halved


def square(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    objective: str | ObjectiveFunction = "margin",
    queries: int = 5000,
    area: float = 0.8,
    n_restarts: int = 1,
    early_stop: bool = True,
    targeted: bool = False,
    seed: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """Attack by random square patches.

    Args:
        ensemble: what to attack; only its answers are used.
        x: images `[B, C, H, W]`, or `[B, ...]` of any shape, whose last two axes are then the plane (one axis: a line).
        y: labels `[B]` to move away from; with `targeted`, the classes to reach.
        budget: norm, one radius or several, and pixel range.
        objective: a name of `holdfast.attacks.objectives`, or a function (logits `[S, b, C]`, labels `[b]`) -> `[b]`.
        queries: how often each image may be tried in each restart.
        area: share of the image that the first patches cover.
        n_restarts: how often to begin anew.
        early_stop: leave an image alone once it is misclassified.
        targeted: lower the objective at `y` instead of raising it.
        seed: seed of all patches.
        memory: budget in bytes for the work of one moment.

    Returns:
        The best image per input and radius.

    >>> network = torch.nn.Linear(4, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 1., 0., 0.], [0., 0., 1., 1.]])
    >>> x, y = torch.tensor([[.6, .6, .5, .5]]), torch.tensor([0])
    >>> square(Ensemble.from_networks(network), x, y, budget=Budget("linf", [.01, .1]), queries=50).success.tolist()
    [[False], [True]]
    """
    check_count("square", "queries", queries)
    check_range("square", "area", area, 0, 1, open_low=True)
    check_count("square", "n_restarts", n_restarts)
    check_seed("square", seed)
    search = Search("square", ensemble, x, y, budget=budget, objective=objective, targeted=targeted, memory=memory)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n_restarts):
        try_patches(search, queries=queries, generator=generator, area=area, early_stop=early_stop)
    settings = dict(objective=name_of(search.objective), queries=queries, area=area)
    return search.finish("square", settings | dict(n_restarts=n_restarts, early_stop=early_stop, seed=seed))


def try_patches(
    search: Search, *, queries: int, generator: torch.Generator, area: float = 0.8, early_stop: bool = True
) -> None:
    """One run of Square on all rows, or on those still without success."""
    plane = _Plane(search.x)
    linf = search.budget.norm == "linf"
    start = _stripes(plane, generator) if linf else _grid(plane, search.budget, generator)
    rows = search.waiting if early_stop else search.rows
    if not len(rows):
        return
    moved = search.budget.linear_optimum(search.x, start, search.radius)[rows]
    value = search.value(moved, rows)
    for query in track(range(1, queries), "Square"):
        if early_stop:
            left = ~search.success[rows]
            rows, moved, value = rows[left], moved[left], value[left]
        if not len(rows):
            return
        side = plane.side(area / 2 ** sum(query > share * queries for share in HALVINGS))
        propose = _set_patch if linf else _shift_patch
        proposal = search.project(propose(search, plane, moved, rows, side, generator), rows)
        new = search.value(proposal, rows)
        better = new > value
        moved, value = torch.where(search.spread(better), proposal, moved), torch.where(better, new, value)


class _Plane:
    """The images seen as `[N, channels, height, width]`, and masks of patches on them."""

    def __init__(self, x: Tensor) -> None:
        self.height, self.width = (1, *x.shape[1:])[-2:]
        self.count, self.channels = len(x), x[0].numel() // (self.height * self.width)
        self.image, self.device, self.dtype = x.shape[1:], x.device, x.dtype

    def side(self, area: float) -> tuple[int, int]:
        """Height and width of a patch that covers about this share of the plane."""
        edge = max(1, round((area * self.height * self.width) ** 0.5))
        high = min(edge, self.height)
        return high, min(self.width, max(1, round(area * self.height * self.width / high)))

    def patches(self, rows: Tensor, side: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Masks `[n, 1, H, W]` of one patch per row at a random place, and the places' corners `[n, 2]`."""
        u = torch.rand(self.count, 2, generator=generator, dtype=torch.float64).to(self.device)[rows]
        top = (u[:, 0] * (self.height - side[0] + 1)).long()
        left = (u[:, 1] * (self.width - side[1] + 1)).long()
        r, c = (torch.arange(n, device=self.device) for n in (self.height, self.width))
        inside_r = (r >= top[:, None]) & (r < top[:, None] + side[0])
        inside_c = (c >= left[:, None]) & (c < left[:, None] + side[1])
        return (inside_r[:, :, None] & inside_c[:, None, :])[:, None], torch.stack([top, left], 1)

    def signs(self, generator: torch.Generator, *shape: int) -> Tensor:
        """Random signs `[N, *shape]`."""
        bits = torch.randint(0, 2, (self.count, *shape), generator=generator)
        return (2 * bits - 1).to(self.device, self.dtype)

    def lay(self, images: Tensor) -> Tensor:
        return images.reshape(len(images), self.channels, self.height, self.width)

    def restore(self, images: Tensor) -> Tensor:
        return images.reshape(len(images), *self.image)


def _stripes(plane: _Plane, generator: torch.Generator) -> Tensor:
    signs = plane.signs(generator, plane.channels, 1, plane.width)
    return plane.restore(signs.expand(-1, -1, plane.height, -1))


def _grid(plane: _Plane, budget: Budget, generator: torch.Generator) -> Tensor:
    """A grid of about 5 x 5 bumps, each of its own sign per channel."""
    high, wide = -(-plane.height // 5), -(-plane.width // 5)
    bump = _bump(high, wide, plane)
    tiled = bump.repeat(5, 5)[: plane.height, : plane.width]
    signs = plane.signs(generator, plane.channels, 5, 5)
    signs = signs.repeat_interleave(high, 2).repeat_interleave(wide, 3)[:, :, : plane.height, : plane.width]
    return plane.restore(signs * tiled)


def _set_patch(
    search: Search, plane: _Plane, moved: Tensor, rows: Tensor, side: tuple[int, int], generator: torch.Generator
) -> Tensor:
    mask, _ = plane.patches(rows, side, generator)
    signs = plane.signs(generator, plane.channels, 1, 1)[rows]
    x = plane.lay(search.x[rows])
    stride = search.radius[rows][:, None, None, None]
    low, high = search.budget.bounds(search.x)
    painted = plane.lay(torch.min(torch.max(plane.restore(x + signs * stride), low), high))
    flipped = plane.lay(torch.min(torch.max(plane.restore(x - signs * stride), low), high))
    same = ((painted == plane.lay(moved)) | ~mask).flatten(1).all(1)  # nothing would change: take the other sign
    painted = torch.where(same[:, None, None, None], flipped, painted)
    return plane.restore(torch.where(mask, painted, plane.lay(moved)))


def _shift_patch(
    search: Search, plane: _Plane, moved: Tensor, rows: Tensor, side: tuple[int, int], generator: torch.Generator
) -> Tensor:
    power = 2 if search.budget.norm == "l2" else 1
    size = lambda t: t.flatten(1).abs().pow(power).sum(1)[:, None, None, None]
    x, d = plane.lay(search.x[rows]), plane.lay(moved) - plane.lay(search.x[rows])
    gets, corner = plane.patches(rows, side, generator)
    gives, _ = plane.patches(rows, side, generator)
    signs = plane.signs(generator, plane.channels, 1, 1)[rows]
    bump = _at(_bump(*side, plane), corner, gets) * signs
    spare = (search.radius[rows][:, None, None, None] ** power - size(d)).clamp(min=0)
    both = gets | gives
    room = (size(d * both) + spare) / plane.channels  # each channel of the patch gets an equal share
    kept = d * gets
    share = kept.abs().pow(power).sum((2, 3), keepdim=True).pow(1 / power)
    fresh = bump + kept / share.clamp(min=1e-12)
    fresh = fresh / fresh.abs().pow(power).sum((2, 3), keepdim=True).pow(1 / power).clamp(min=1e-12)
    return plane.restore(x + torch.where(gets, fresh * room.pow(1 / power), d * ~gives))


def _bump(high: int, wide: int, plane: _Plane) -> Tensor:
    """A patch `[high, wide]` that peaks in the middle of either half, the halves of opposite sign; of size 1 in l2."""
    half = wide // 2
    left, right = _peak(high, half, plane), _peak(high, wide - half, plane)
    bump = torch.cat([left, -right], 1)
    return bump / bump.norm()


def _peak(high: int, wide: int, plane: _Plane) -> Tensor:
    """Nested rectangles, the k-th from outside of weight `1 / (n + 1 - k)^2`, added up."""
    r = torch.arange(high, device=plane.device, dtype=plane.dtype)
    c = torch.arange(wide, device=plane.device, dtype=plane.dtype)
    depth = torch.minimum(torch.minimum(r, high - 1 - r)[:, None], torch.minimum(c, wide - 1 - c)[None, :])
    rings = (min(high, wide) + 1) // 2
    total = torch.zeros(high, wide, device=plane.device, dtype=plane.dtype)
    for k in range(rings):
        total = total + (depth >= k) / (rings - k) ** 2
    return total


def _at(bump: Tensor, corner: Tensor, mask: Tensor) -> Tensor:
    """The patch laid at its corner in each row's plane `[n, 1, H, W]`, zero elsewhere."""
    height, width = mask.shape[-2:]
    r = (torch.arange(height, device=bump.device) - corner[:, :1]).clamp(0, len(bump) - 1)
    c = (torch.arange(width, device=bump.device) - corner[:, 1:]).clamp(0, bump.shape[1] - 1)
    return bump[r[:, :, None], c[:, None, :]][:, None] * mask
