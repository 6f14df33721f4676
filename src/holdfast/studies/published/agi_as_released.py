"""AGI as released: adversarial gradient integration whose every step begins at the image again.

    z_(j+1) = clip(x + step sign(d p_t / dx (z_j))),      map = - sum_t sum_j  (z_(j+1) - x) * d p_c / dx (z_j)

What is wrong with it: the steps restart at the image `x`, so the walk never goes farther than one step from it, and the
map is no path integral: the chord from x to the newest point is counted again in every step. The sum of the map is not
the change of `p_c` along the walk (completeness fails), and grows with the number of steps. The walk of the paper (Pan,
Li, Zhu, IJCAI 2021) is `holdfast.explanations.adversarial_gradient_integration`.

Classes are walked to in steps of `classes / n_target_classes` through the class numbers, as released.
"""

import torch
from torch import Tensor, nn

from holdfast.checks import check_count, check_images, check_range


def agi_as_released(
    network: nn.Module, x: Tensor, *, n_target_classes: int = 15, steps: int = 15, step_size: float = 0.05
) -> Tensor:
    """The released method on one network, images in [0, 1]; maps `[B, *image]`. For comparison only.

    >>> network = nn.Linear(2, 2, bias=False)
    >>> network.weight.data = torch.tensor([[1., 0.], [0., 1.]])
    >>> few = agi_as_released(network, torch.tensor([[.9, .1]]), steps=1)
    >>> many = agi_as_released(network, torch.tensor([[.9, .1]]), steps=15)
    >>> bool(many.sum() > 10 * few.sum())  # although the walk is no longer
    True
    """
    check_images("agi_as_released", x)
    check_count("agi_as_released", "n_target_classes", n_target_classes)
    check_count("agi_as_released", "steps", steps)
    check_range("agi_as_released", "step_size", step_size, 0, 1e6, open_low=True)
    x = x.detach()
    with torch.no_grad():
        logits = network(x)
    own, classes = logits.argmax(-1), logits.shape[-1]
    maps = torch.zeros_like(x)
    for goal in range(0, classes, max(1, classes // min(n_target_classes, classes))):
        here, walking = x, own != goal
        for _ in range(steps):
            towards, gradient = _gradient(network, here, torch.full_like(own, goal)), _gradient(network, here, own)
            there = (x + step_size * towards.sign()).clamp(0, 1)
            on = walking.view(-1, *[1] * (x.ndim - 1))
            maps = torch.where(on, maps - gradient * (there - x), maps)
            here = torch.where(on, there, here)
            with torch.no_grad():
                walking = walking & (network(here).argmax(-1) != goal)
            if not walking.any():
                break
    return maps


def _gradient(network: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        probability = network(x).softmax(-1).gather(1, classes[:, None])
    return torch.autograd.grad(probability.sum(), x)[0]
