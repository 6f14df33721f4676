"""Mass: slower speeds for the directions of a layer's inputs in which the data are sharp ("kron_in").

    mass of a row of weights = 1 + c s^2 N b A,      A = mean x x^T over the images, b = mean squared back-signal

For a linear layer with prior deviation s, inputs x and back-signal b (mean over its outputs), s^2 N b A is the input
side of the Kronecker-factored Fisher information (Martens and Grosse 2015, arXiv:1503.05671). In the eigenvectors of A
the mass is diagonal: the layer's coordinates are turned into them, where the prior stays N(0, 1), and each gets the
speed 1 / sqrt(mass). A speed is part of the Hamiltonian, not of the posterior: any speeds sample the same
posterior, if they are frozen while draws are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.fused_potential import FusedPotential

SHARE = 1.0  # c
IMAGES = 5000  # images over which the factors are averaged


@dataclass(frozen=True)
class Metric:
    """Coordinates in which the mass is diagonal, and the speed of each.

    Attributes:
        rotations: eigenvectors of the inputs `[in, in]`, by the name of the weight.
        speed: `[d]`.
    """

    rotations: dict[str, Tensor]
    speed: Tensor

    def coordinates(self, base: Coordinates) -> Coordinates:
        """The base coordinates, turned."""
        return base.turned(self.rotations)

    def tensors(self) -> dict[str, Tensor]:
        """As they are written into a checkpoint."""
        return {"speed": self.speed, **{f"rotation.{name}": r for name, r in self.rotations.items()}}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor], device: torch.device) -> "Metric | None":
        """What `tensors` gave, or None where there was no metric."""
        if "speed" not in tensors:
            return None
        rotations = {k.removeprefix("rotation."): v.to(device) for k, v in tensors.items() if k.startswith("rotation.")}
        return Metric(rotations, tensors["speed"].to(device))


def kronecker_inputs(density: FusedPotential, base: Coordinates, z: Tensor) -> Metric:
    """The metric at positions z, given in the coordinates that `density` has now; chains of a stack share it."""
    count = density.inputs.shape[1]
    rows = torch.arange(0, count, max(1, count // IMAGES), device=z.device)
    rotations = {}
    speed = torch.ones(base.size, dtype=torch.float64, device=z.device)
    for layer, moment, signal in density.second_moments(z, rows):
        place = base.places[layer.weight]
        moment = moment.double()
        if place.inputs is not None:
            moment = place.inputs.double().T @ moment @ place.inputs.double()
        values, vectors = torch.linalg.eigh(moment)
        mass = 1 + SHARE * place.scale**2 * count * signal * values.clamp_min(0)
        speed[place.span] = mass.rsqrt().expand(place.shape[0], -1).flatten()
        rotations[layer.weight] = vectors.to(z.dtype)
        if layer.bias:
            place = base.places[layer.bias]
            speed[place.span] = (1 + SHARE * place.scale**2 * count * signal) ** -0.5
    return Metric(rotations, speed.to(z.dtype))
