"""Approach: from the maximum of the posterior to where its mass is, by stochastic gradients.

A maximum lies far below the posterior's mass: its weights have a fiftieth of the squared length of a draw. Full-batch
trajectories cover the distance at a gradient over all images per step; stochastic gradient Hamiltonian Monte Carlo with
a step that falls to zero covers it in some passes over the images (`fc2` 512 on 60,000 images: about a CPU minute,
against some 2,000 full-batch gradients). Where it ends is somewhat too hot, by the noise of its batches: with batches
of 128 and 6 passes the loss of Fashion-MNIST was a tenth above where the chains then went. It is only where the warm-up
starts; what follows has a Metropolis test.
"""

from torch import Tensor, nn

from holdfast.data.dataset import Split
from holdfast.inference.priors import penalty
from holdfast.inference.seeds import stream_seed
from holdfast.inference.sghmc import Path, walk
from holdfast.inference.training import Weights, check_problem, cross_entropy, member_logits

CALL = "inference.hmc"


def approach(
    network: nn.Module,
    data: Split,
    start: Weights,
    scale: dict[str, float],
    temperature: float,
    path: Path,
    seeds: list[int],
    seed: int,
) -> Weights:
    """Where the chains are after the path, stacks `[K, ...]`.

    Args:
        network: the architecture.
        data: images and labels.
        start: all parameters and buffers of the fits `[K, ...]`.
        scale: prior deviation of every random parameter, at temperature 1.
        temperature: of the posterior.
        path: how many passes, in which steps.
        seeds: of each chain, for the order of its batches.
        seed: of the noise.
    """
    shell = check_problem(CALL, network, data).eval()
    weights = {name: value.clone() for name, value in start.items()}
    moving = {name: weights[name].requires_grad_() for name in scale}

    def energy(images: Tensor, labels: Tensor) -> Tensor:
        fit = len(data) * cross_entropy(member_logits(shell, weights, images), labels)
        return fit + penalty(moving, scale)

    orders = [stream_seed(s, "approach") for s in seeds]
    walk(CALL, moving, scale, energy, data, path, temperature, [], orders, stream_seed(seed, "approach"), weights)
    return {name: value.detach() for name, value in weights.items()}
