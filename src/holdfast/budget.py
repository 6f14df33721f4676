"""Budget: what an adversary may do to an image.

A ball of a norm around the image, cut with the box of valid pixels. Everything geometric about attacks lives here:
projecting onto the ball, the steepest step, a random point, the sizes reached. Sizes are in the images' own units.

    linf  max_i |d_i| <= e        steepest step  sign(g)
    l2    sqrt(sum d_i^2) <= e    steepest step  g / ||g||_2
    l1    sum_i |d_i| <= e        steepest step  sign(g_i) / k on the k largest |g_i|
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["linf", "l2", "l1"]
TOLERANCE = 1e-6  # relative slack for rounding when the budget is asserted
SPARSITY = 0.05  # share of the pixels that one l1 step moves


@dataclass(frozen=True)
class Budget:
    """A norm, one radius or several (`epsilons`), and the range of valid pixels.

    Attributes:
        norm: "linf", "l2" or "l1".
        epsilons: the radius, or a sequence of radii that one call tries side by side.
        lower, upper: valid pixel values: numbers, or one number per channel.

    >>> Budget("linf", 0.1)
    Budget(norm='linf', epsilons=(0.1,), lower=0.0, upper=1.0)
    """

    norm: Norm
    epsilons: float | Sequence[float]
    lower: float | Sequence[float] = 0.0
    upper: float | Sequence[float] = 1.0

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2", "l1"):
            raise ValueError(f"Budget: norm must be 'linf', 'l2' or 'l1', got {self.norm!r}.")
        given = self.epsilons.tolist() if hasattr(self.epsilons, "tolist") else self.epsilons  # a tensor or an array
        epsilons = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
        epsilons = tuple(e.item() if hasattr(e, "item") and getattr(e, "ndim", 0) == 0 else e for e in epsilons)
        if not epsilons or not all(_is_radius(e) for e in epsilons):
            raise ValueError(f"Budget: every radius must be a positive number, got {self.epsilons!r}.")
        object.__setattr__(self, "epsilons", epsilons)
        for name in ("lower", "upper"):
            value = getattr(self, name)
            try:
                bound = float(value) if isinstance(value, int | float) else tuple(map(float, value))
            except (TypeError, ValueError) as error:
                raise TypeError(f"Budget: {name} must be a number, or one per channel, got {value!r}.") from error
            object.__setattr__(self, name, bound)
        low, high = torch.tensor(self.lower), torch.tensor(self.upper)
        if low.ndim and high.ndim and low.shape != high.shape:
            raise ValueError(f"Budget: lower and upper name {len(low)} and {len(high)} channels; give one per channel.")
        if not (torch.isfinite(low).all() and torch.isfinite(high).all() and (low < high).all()):
            raise ValueError(f"Budget: lower must be below upper, got {self.lower} and {self.upper}.")

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper pixel bounds, shaped to meet images `[B, C, ...]`."""
        shaped = []
        for value in (self.lower, self.upper):
            t = torch.as_tensor(value, dtype=x.dtype, device=x.device)
            if t.ndim and len(t) != x.shape[1]:
                raise ValueError(f"Budget: {len(t)} channel bounds for images of {x.shape[1]} channels.")
            shaped.append(t.view(-1, *[1] * (x.ndim - 2)) if t.ndim else t)
        return shaped[0], shaped[1]

    def check_inside(self, call: str, x: Tensor) -> None:
        """Raise unless every pixel of `x` is valid and every radius both moves such images and stays in reach."""
        low, high = self.bounds(x)
        if bool(((x < low) | (x > high)).any()):
            raise ValueError(
                f"{call}: images must lie in the pixel range {self.lower} to {self.upper}, "
                f"got values from {float(x.min()):.4g} to {float(x.max()):.4g}; rescale them or pass lower= and upper=."
            )
        farthest = self.farthest(x)
        if max(self.epsilons) > farthest * (1 + TOLERANCE):
            raise ValueError(
                f"{call}: a radius of {max(self.epsilons)} reaches beyond the pixel range {self.lower} to "
                f"{self.upper}, where no image is farther than {farthest:.4g} in {self.norm}; "
                "for 8 of 255 grey levels write 8 / 255."
            )
        finest = torch.finfo(x.dtype).eps * float(torch.maximum(low.abs(), high.abs()).max())
        if min(self.epsilons) < finest:
            raise ValueError(
                f"{call}: a radius of {min(self.epsilons)} cannot move a pixel of {x.dtype} images in the range "
                f"{self.lower} to {self.upper}; the least that can is {finest:.3g}."
            )

    def farthest(self, x: Tensor) -> float:
        """The radius within which every valid image lies, seen from any image of the shape of `x` `[B, *image]`."""
        low, high = self.bounds(x)
        return float((high - low).max()) * {"linf": 1, "l2": x[0].numel() ** 0.5, "l1": x[0].numel()}[self.norm]

    def project(self, moved: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """The point of the ball of `radius` `[B]` around `x`, within the pixel range, near `moved`."""
        low, high = self.bounds(x)
        if self.norm == "linf":
            r = _spread(radius, x)
            return torch.clamp(moved, torch.clamp(x - r, low), torch.clamp(x + r, max=high))
        if self.norm == "l1":
            return self._project_l1(moved, x, radius)
        d = moved.clamp(low, high) - x  # clipping first: shrinking towards a valid x keeps the pixels valid
        length = d.flatten(1).norm(dim=1)
        return (x + d * _spread((radius / length.clamp(min=1e-30)).clamp(max=1), x)).clamp(low, high)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of unit size in which the objective rises most steeply; zero where the gradient is zero."""
        if self.norm == "linf":
            return gradient.sign()
        if self.norm == "l1":
            count = max(1, round(SPARSITY * gradient[0].numel()))
            return self.sparse(gradient, torch.full((len(gradient),), count, device=gradient.device))
        largest = gradient.flatten(1).abs().amax(1)
        scaled = gradient / _spread(torch.where(largest > 0, largest, 1), gradient)  # no underflow in the squares
        length = scaled.flatten(1).norm(dim=1)
        return scaled / _spread(torch.where(length > 0, length, 1), gradient)

    def sparse(self, gradient: Tensor, counts: Tensor) -> Tensor:
        """Unit l1 steps that share themselves among the `counts` `[B]` largest entries of the gradient."""
        size = gradient.flatten(1).abs()
        ordered = size.sort(1, descending=True).values
        kept = (size >= ordered.gather(1, counts[:, None] - 1)) & (size > 0)
        step = gradient.flatten(1).sign() * kept / kept.sum(1, keepdim=True).clamp(min=1)
        return step.view_as(gradient)

    def free(self, gradient: Tensor, moved: Tensor) -> Tensor:
        """The gradient without the pixels that stand at an end of the pixel range and would be pushed beyond it."""
        low, high = self.bounds(moved)
        return gradient.masked_fill(((moved >= high) & (gradient > 0)) | ((moved <= low) & (gradient < 0)), 0)

    def linear_optimum(self, x: Tensor, direction: Tensor, radius: Tensor) -> Tensor:
        """The point of the budget that lies farthest along `direction`: `argmax <direction, x' - x>`.

        The exact optimum of a linear objective within ball and pixel range. Pixels with a zero in `direction` stay.
        Its size is the radius unless the pixel range ends before.

        >>> Budget("l2", 0.5).linear_optimum(torch.tensor([[0.9, 0.5]]), torch.tensor([[1., 1.]]), torch.tensor([0.5]))
        tensor([[1.0000, 0.9899]])
        """
        if self.norm == "linf":
            return self.project(x + direction.sign() * _spread(radius, x), x, radius)
        low, high = self.bounds(x)
        room = torch.where(direction > 0, high - x, x - low).flatten(1).double()
        if self.norm == "l1":
            order = direction.flatten(1).abs().argsort(dim=1, descending=True, stable=True)
            spent = (room * (direction.flatten(1) != 0)).gather(1, order)
            before = spent.cumsum(1) - spent
            share = torch.minimum(spent, (radius[:, None].double() - before).clamp(min=0))
            d = torch.zeros_like(room).scatter(1, order, share)
            return (x + d.view_as(x).to(x.dtype) * direction.sign()).clamp(low, high)
        weight = self.steepest(direction).flatten(1).double().abs()  # d_i = min(t w_i, room_i): find t with |d| = r
        meets = torch.where(weight > 0, room / weight, torch.inf)
        order = meets.argsort(1)
        full = (room * (weight > 0)).gather(1, order).square().cumsum(1)
        rest = weight.gather(1, order).square().flip(1).cumsum(1).flip(1)
        rest = torch.cat([rest, torch.zeros_like(rest[:, :1])], 1)
        full = torch.cat([torch.zeros_like(full[:, :1]), full], 1)
        reached = full[:, 1:] + meets.gather(1, order).square().nan_to_num(posinf=torch.inf) * rest[:, 1:]
        k = (reached.nan_to_num(nan=torch.inf) <= radius[:, None].double() ** 2).sum(1, keepdim=True)
        left = (radius[:, None].double() ** 2 - full.gather(1, k)).clamp(min=0)
        tail = rest.gather(1, k)
        t = torch.where(tail > 0, (left / tail.clamp(min=1e-300)).sqrt(), torch.inf)
        d = torch.minimum(torch.where(weight > 0, t * weight, 0.0), room)
        return self.project(x + d.view_as(x).to(x.dtype) * direction.sign(), x, radius)

    def random(self, x: Tensor, radius: Tensor, generator: torch.Generator) -> Tensor:
        """A uniform random point of the ball of `radius` `[B]` around `x`, within the pixel range."""
        shape, kind = x.shape, dict(generator=generator, dtype=x.dtype)
        if self.norm == "linf":
            d = (2 * torch.rand(shape, **kind) - 1).to(x.device)
            return self.project(x + d * _spread(radius, x), x, radius)
        if self.norm == "l1":
            d = torch.empty(shape, dtype=x.dtype).exponential_(generator=generator).to(x.device)
            rest = torch.empty(len(x), dtype=x.dtype).exponential_(generator=generator).to(x.device)
            sign = (torch.randint(0, 2, shape, generator=generator) * 2 - 1).to(x.device)
            return self.project(x + sign * d * _spread(radius / (d.flatten(1).sum(1) + rest), x), x, radius)
        d = torch.randn(shape, **kind).to(x.device)
        scale = torch.rand(len(x), **kind).to(x.device) ** (1 / x[0].numel())
        return self.project(x + self.steepest(d) * _spread(radius * scale, x), x, radius)

    def size(self, moved: Tensor, x: Tensor) -> Tensor:
        """The size `[B]` of the perturbation `moved - x` in this budget's norm."""
        d = (moved - x).flatten(1)
        if self.norm == "linf":
            return d.abs().amax(1)
        return d.norm(dim=1) if self.norm == "l2" else d.abs().sum(1)

    def assert_kept(self, moved: Tensor, x: Tensor, radius: Tensor) -> None:
        """Raise if any image left its ball or the pixel range: a fault of the attack, never of the caller."""
        low, high = self.bounds(x)
        grain = torch.finfo(x.dtype).eps * float(torch.maximum(low.abs(), high.abs()).max())  # of one pixel
        pixels = {"linf": 1, "l2": x[0].numel() ** 0.5, "l1": x[0].numel()}[self.norm]
        over = self.size(moved.double(), x.double()) > radius.double() * (1 + TOLERANCE) + grain * pixels
        outside = ((moved < low) | (moved > high)).flatten(1).any(1)
        if bool((over | outside).any()) or not bool(torch.isfinite(moved).all()):
            broken = int((~torch.isfinite(moved)).sum())
            raise AssertionError(
                f"an attack broke its budget: {int(over.sum())} images beyond their {self.norm} radius, "
                f"{int(outside.sum())} outside the pixel range, {broken} values not finite."
            )

    def _project_l1(self, moved: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """The nearest point (in l2) of the l1 ball cut with the pixel range (Croce and Hein 2021, arXiv 2103.01208).

        `d_i = sign(u_i) min(max(|u_i| - l, 0), room_i)` for `u = moved - x`. The size falls piecewise linearly in `l`:
        pixel i counts from `|u_i|` down to `|u_i| - room_i`. Sort these corners and read off `l` where it is `radius`.
        """
        low, high = self.bounds(x)
        clipped = moved.clamp(low, high)
        over = (clipped - x).flatten(1).abs().sum(1) > radius
        if not bool(over.any()):
            return clipped
        u = (moved - x)[over].flatten(1).double()
        room = torch.where(moved >= x, high - x, x - low)[over].flatten(1).double()
        u, sign, r = u.abs(), u.sign(), radius[over][:, None].double()
        corners = torch.cat([u, (u - room).clamp(min=0), torch.zeros_like(r)], 1)
        slopes = torch.cat([torch.ones_like(u), -torch.ones_like(u), torch.zeros_like(r)], 1)
        corners, order = corners.sort(1, descending=True)
        slope = slopes.gather(1, order).cumsum(1)[:, :-1]
        size = (slope * (corners[:, :-1] - corners[:, 1:])).cumsum(1)  # at the corner after
        k = (size <= r).sum(1, keepdim=True).clamp(max=size.shape[1] - 1)
        before = torch.where(k > 0, size.gather(1, (k - 1).clamp(min=0)), 0.0)
        level = corners.gather(1, k) - (r - before) / slope.gather(1, k).clamp(min=1)
        level = level.clamp(min=0)  # float32 may call a point outside that is on the border
        d = sign * torch.minimum((u - level).clamp(min=0), room)
        result = clipped.clone()
        result[over] = (x[over] + d.view_as(x[over]).to(x.dtype)).clamp(low, high)
        return result


def _is_radius(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """One value per image `[B]`, shaped to meet images `[B, ...]`."""
    return values.view(-1, *[1] * (x.ndim - 1))
