"""Whitened coordinates: one flat vector in which the prior is a standard normal distribution.

    W = s Z R^T      for each parameter, with prior deviation s and, where there is one, a matrix R on its inputs

The vector z holds the Z of all parameters one after the other; K chains are a stack `[K, d]`. Gradients come back by
the transposed map, dZ = s dW R. R is the root of an input covariance (the EmpCov prior), a rotation into the
eigenvectors of the inputs (the Kronecker mass), their product, or absent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Place:
    """Where one parameter lies in the flat vector.

    Attributes:
        name: of the parameter.
        shape: of the parameter.
        start: of its first coordinate.
        scale: its prior deviation.
        inputs: matrix R on its inputs `[in, in]`, or None for the identity.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    scale: float
    inputs: Tensor | None = None

    @property
    def span(self) -> slice:
        """Its coordinates."""
        return slice(self.start, self.start + math.prod(self.shape))


class Coordinates:
    """The map between flat vectors `[K, d]` and parameters by name `[K, ...]`.

    Args:
        shapes: of every random parameter, by name, in the order in which they are laid out.
        scales: prior deviation of every one of them.
        inputs: matrices R, for the parameters that have one.

    >>> coordinates = Coordinates({"w": (2, 3), "b": (2,)}, {"w": 0.5, "b": 2.0})
    >>> coordinates.size, {k: v.tolist() for k, v in coordinates.parameters(torch.ones(1, 8)).items()}["b"]
    (8, [[2.0, 2.0]])
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        scales: Mapping[str, float],
        inputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.places: dict[str, Place] = {}
        start = 0
        for name, shape in shapes.items():
            self.places[name] = Place(name, tuple(shape), start, scales[name], (inputs or {}).get(name))
            start += math.prod(shape)
        self.size = start

    def parameters(self, z: Tensor, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Every parameter by its name `[K, ...]`, in the type asked for."""
        found = {}
        for name, place in self.places.items():
            part = z[:, place.span] * place.scale
            if place.inputs is not None:
                part = part.view(-1, len(place.inputs)) @ place.inputs.T
            found[name] = part.view(len(z), *place.shape).to(dtype)
        return found

    def flatten(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The flat vectors of parameters `[K, ...]`: the inverse of `parameters`."""
        parts = []
        for name, place in self.places.items():
            part = parameters[name].flatten(1) / place.scale
            if place.inputs is not None:
                rows = part.reshape(-1, len(place.inputs)).double()
                part = torch.linalg.solve(place.inputs.double(), rows.T).T.to(part.dtype).reshape(len(part), -1)
            parts.append(part)
        return torch.cat(parts, 1)

    def turned(self, rotations: Mapping[str, Tensor]) -> "Coordinates":
        """The same prior with the inputs of some parameters, by name, turned by orthogonal matrices."""
        inputs = {name: p.inputs for name, p in self.places.items() if p.inputs is not None}
        for name, rotation in rotations.items():
            inputs[name] = inputs[name] @ rotation if name in inputs else rotation
        places = self.places.values()
        return Coordinates({p.name: p.shape for p in places}, {p.name: p.scale for p in places}, inputs)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of a flat stack in the parameters' shapes, into which their gradients may be added."""
        return {name: flat[:, p.span].view(len(flat), *p.shape) for name, p in self.places.items()}

    def pull_back(self, flat: Tensor) -> Tensor:
        """Gradients by the parameters, laid out flat, to gradients by z; in place."""
        for place in self.places.values():
            part = flat[:, place.span]
            if place.inputs is not None:
                part.copy_((part.reshape(-1, len(place.inputs)) @ place.inputs).view_as(part))
            part.mul_(place.scale)
        return flat
