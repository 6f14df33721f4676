"""Budget: what an adversary may do to an image.

A ball of a norm around the image, cut with the box of valid pixels. Everything geometric about attacks lives here:
projecting onto the ball, the steepest step, a random point, the sizes reached. Sizes are in the images' own units.

    linf  max_i |d_i| <= e        steepest step  sign(g)
    l2    sqrt(sum d_i^2) <= e    steepest step  g / ||g||_2
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["linf", "l2"]
TOLERANCE = 1e-6  # relative slack for float32 rounding when the budget is asserted


@dataclass(frozen=True)
class Budget:
    """A norm, one radius or several (`epsilons`), and the range of valid pixels.

    Attributes:
        norm: "linf" or "l2".
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
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"Budget: norm must be 'linf' or 'l2', got {self.norm!r}.")
        epsilons = (self.epsilons,) if isinstance(self.epsilons, int | float) else tuple(self.epsilons)
        if not epsilons or not all(math.isfinite(e) and e > 0 for e in epsilons):
            raise ValueError(f"Budget: every radius must be a positive number, got {self.epsilons}.")
        object.__setattr__(self, "epsilons", epsilons)
        for name in ("lower", "upper"):
            value = getattr(self, name)
            object.__setattr__(self, name, float(value) if isinstance(value, int | float) else tuple(map(float, value)))
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
        """Raise unless every pixel of `x` is valid."""
        low, high = self.bounds(x)
        if bool(((x < low) | (x > high)).any()):
            raise ValueError(
                f"{call}: images must lie in the pixel range {self.lower} to {self.upper}, "
                f"got values from {float(x.min()):.4g} to {float(x.max()):.4g}; rescale them or pass lower= and upper=."
            )

    def project(self, moved: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """The point of the ball of `radius` `[B]` around `x`, within the pixel range, near `moved`."""
        low, high = self.bounds(x)
        if self.norm == "linf":
            r = _spread(radius, x)
            return torch.min(torch.max(moved, x - r), x + r).clamp(low, high)
        d = moved.clamp(low, high) - x  # clipping first: shrinking towards a valid x keeps the pixels valid
        length = d.flatten(1).norm(dim=1)
        return x + d * _spread((radius / length.clamp(min=1e-30)).clamp(max=1), x)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of unit size in which the objective rises most steeply; zero where the gradient is zero."""
        if self.norm == "linf":
            return gradient.sign()
        largest = gradient.flatten(1).abs().amax(1)
        scaled = gradient / _spread(torch.where(largest > 0, largest, 1), gradient)  # no underflow in the squares
        length = scaled.flatten(1).norm(dim=1)
        return scaled / _spread(torch.where(length > 0, length, 1), gradient)

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
        d = torch.randn(shape, **kind).to(x.device)
        scale = torch.rand(len(x), **kind).to(x.device) ** (1 / x[0].numel())
        return self.project(x + self.steepest(d) * _spread(radius * scale, x), x, radius)

    def size(self, moved: Tensor, x: Tensor) -> Tensor:
        """The size `[B]` of the perturbation `moved - x` in this budget's norm."""
        d = (moved - x).flatten(1)
        return d.abs().amax(1) if self.norm == "linf" else d.norm(dim=1)

    def assert_kept(self, moved: Tensor, x: Tensor, radius: Tensor) -> None:
        """Raise if any image left its ball or the pixel range: a fault of the attack, never of the caller."""
        slack = TOLERANCE * (1 + radius)
        low, high = self.bounds(x)
        over = self.size(moved, x) > radius + slack
        outside = ((moved < low - TOLERANCE) | (moved > high + TOLERANCE)).flatten(1).any(1)
        if bool((over | outside).any()) or not bool(torch.isfinite(moved).all()):
            broken = int((~torch.isfinite(moved)).sum())
            raise AssertionError(
                f"an attack broke its budget: {int(over.sum())} images beyond their {self.norm} radius, "
                f"{int(outside.sum())} outside the pixel range, {broken} values not finite."
            )


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """One value per image `[B]`, shaped to meet images `[B, ...]`."""
    return values.view(-1, *[1] * (x.ndim - 1))
