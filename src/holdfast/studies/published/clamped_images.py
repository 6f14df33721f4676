"""Attacks as released for CIFAR-10: normalised images are cut to [0, 1] as if they were pixels.

    u = (x - mean) / std,    u_s = clip(u + e sign(grad_u CE(f_s(u), y)), 0, 1) for each draw s,
    x' = mean + std (1/S) sum_s u_s

Released with "Resilience of Bayesian layer-wise explanations under adversarial attacks" (arXiv:2102.11010). What is
wrong with it:

- u lies between about -2.1 and 2.6. Cut at 0, every pixel darker than the mean of its channel becomes that mean; cut at
  1, what is brighter than one deviation above it is lost. Pixels move by up to 0.49, attack or not, where the radius of
  0.2 in these units stands for 0.046: no image stays in its ball.
- All networks get images with less than a quarter of the range of pixels, so differences between them are small.
- As for MNIST, one image is made for each draw, of float32 cross-entropies, and the images are averaged.

`holdfast.attacks` keeps perturbations in their ball and images in [0, 1].
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.checks import check_count, check_images, check_labels, check_range
from holdfast.ensemble import Ensemble
from holdfast.studies.published.mean_of_images import gradient_of_draws
from holdfast.studies.published.recorded import recorded
from holdfast.tiles import MEMORY

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the release takes for CIFAR-10


def clamped_images(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float = 0.2,
    steps: int = 0,
    step_size: float = 0.01,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    seed: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """The released attack on each draw, and the mean of the images. For comparison only.

    Args:
        ensemble: the draws, which take images in [0, 1].
        x: images `[B, channels, H, W]` in [0, 1].
        y: true labels `[B]`.
        epsilon: "radius", in units of normalised images.
        steps: 0 for FGSM; the PGD of the release takes 40 of size 0.01 from a random start.
        step_size: of PGD, in the same units.
        mean, std: of the normalisation, one number per channel; images of one channel take the first.
        seed: of the random start, one for all draws.
        memory: budget in bytes.

    >>> from holdfast.networks import conv
    >>> ensemble, x = Ensemble.from_networks(conv((3, 16, 16), 4, width=4)), torch.zeros(1, 3, 16, 16)
    >>> clamped_images(ensemble, x, torch.tensor([0])).images.amin() > 0.4  # black is grey now
    tensor(True)
    """
    check_images("clamped_images", x)
    check_labels("clamped_images", y, len(x))
    check_range("clamped_images", "epsilon", epsilon, 0, 10, open_low=True)
    check_count("clamped_images", "steps", steps, 0)
    mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device)[: x.shape[1]].view(-1, 1, 1) for v in (mean, std))
    x, moved = x.detach(), torch.zeros_like(x)
    noise = 2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype).to(x.device) - 1
    for block in ensemble.tiles(x, memory):
        for tile in block:
            weights = {k: v[tile.draws] for k, v in ensemble.weights.items()}
            labels, clean = y[tile.images], (x[tile.images] - mean) / std
            clean = clean.expand(tile.draws.stop - tile.draws.start, *clean.shape)
            way = lambda u: gradient_of_draws(ensemble, weights, u * std + mean, labels).sign()  # noqa: B023, used here
            if steps == 0:
                images = (clean + epsilon * way(clean)).clamp(0, 1)
            else:
                images = (clean + epsilon * noise[tile.images]).clamp(0, 1)
                for _ in range(steps):
                    images = images + step_size * way(images)
                    images = (clean + (images - clean).clamp(-epsilon, epsilon)).clamp(0, 1)
            moved[tile.images] += images.sum(0) / len(ensemble)
    settings = {"steps": steps, "step_size": step_size, "seed": seed}
    return recorded("clamped_images", ensemble, x, y, moved * std + mean, epsilon, settings, memory)
