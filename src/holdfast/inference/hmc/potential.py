"""Potential: the likelihood of a network on all its images, by the fastest way that the network allows."""

from collections.abc import Mapping

from torch import Tensor, nn

from holdfast.inference.hmc.autograd_potential import AutogradPotential
from holdfast.inference.hmc.coordinates import Coordinates
from holdfast.inference.hmc.fused_potential import FusedPotential
from holdfast.inference.hmc.layers import plain_layers
from holdfast.tiles import MEMORY


def potential(
    network: nn.Module,
    coordinates: Coordinates,
    images: Tensor,
    labels: Tensor,
    *,
    fixed: Mapping[str, Tensor] | None = None,
    temperature: float = 1.0,
    precision: str = "float32",
    memory: int = MEMORY,
) -> FusedPotential | AutogradPotential:
    """The likelihood of a stack of K chains: `nll(z)` in float64 and `gradient(z)`.

    Args:
        network: the architecture, with its buffers.
        coordinates: which parameters are random, and how they lie in z.
        images: `[K, N, ...]`, or `[1, N, ...]` where all chains see the same.
        labels: `[K, N]` or `[1, N]`.
        fixed: every other parameter and buffer `[K, ...]`.
        temperature: divides the log likelihood; the prior's part is in the coordinates.
        precision: of the gradients: "float32", "tf32", "bfloat16", or "float64" for float64 data.
        memory: budget in bytes for a block of images: its activations under all chains, and what goes back through
            them. The blocks of a CPU are smaller still, so as to stay in its cache.
    """
    found = plain_layers(network)
    settings = {"temperature": temperature, "precision": precision, "memory": memory}
    if found is not None and set(coordinates.places) == {name for name, _ in network.named_parameters()}:
        front, layers = found
        return FusedPotential(front, layers, coordinates, images, labels, **settings)
    return AutogradPotential(network, fixed or {}, coordinates, images, labels, **settings)
