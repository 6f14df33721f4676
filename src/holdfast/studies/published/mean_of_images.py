"""Attacks as released on Bayesian networks: one adversarial image for each draw, then the mean of the images.

    x'_s = x + e sign(grad_x CE(f_s(x), y))   for each draw s;      x' = (1/S) sum_s clip(x'_s)

Released with "Resilience of Bayesian layer-wise explanations under adversarial attacks" (arXiv:2102.11010), whose text
says x + e sign of the *expected* gradient. What is wrong with it:

- Where draws disagree about the sign the mean moves less: the Bayesian input is perturbed far less than the
  deterministic one it is compared with, and the comparison is not at one radius.
- The cross-entropy is taken of the logits in float32: where a draw is sure, its gradient is exactly zero and its image
  is the clean one. Logits of order 10^3, which a N(0, 1) prior gives, make this the rule.

So a network that is merely loud passes for a robust one: multiply its logits by 100 and the attack stops. The attacks
that are meant to break an ensemble are in `holdfast.attacks`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from holdfast.attacks.attacked import Attacked
from holdfast.checks import check_count, check_images, check_labels, check_range
from holdfast.ensemble import Ensemble
from holdfast.studies.published.recorded import recorded
from holdfast.tiles import MEMORY


def mean_of_images(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float = 0.2,
    steps: int = 0,
    step_size: float = 0.01,
    seed: int = 0,
    memory: int = MEMORY,
) -> Attacked:
    """The released attack on each draw, and the mean of the images. For comparison only.

    Args:
        ensemble: the draws.
        x: images `[B, *image]` in [0, 1].
        y: true labels `[B]`.
        epsilon: radius in linf.
        steps: 0 for FGSM; the PGD of the release takes 40 of size 0.01 from a random start.
        step_size: of PGD.
        seed: of the random start, one for all draws.
        memory: budget in bytes.

    >>> one = torch.nn.Linear(1, 2, bias=False)
    >>> other = torch.nn.Linear(1, 2, bias=False)
    >>> one.weight.data, other.weight.data = torch.tensor([[1.], [0.]]), torch.tensor([[0.], [1.]])
    >>> x, y = torch.tensor([[0.5]]), torch.tensor([0])
    >>> mean_of_images(Ensemble.from_networks([one, other]), x, y).images  # the draws' images are 0.3 and 0.7
    tensor([[[0.5000]]])
    """
    check_images("mean_of_images", x)
    check_labels("mean_of_images", y, len(x))
    check_range("mean_of_images", "epsilon", epsilon, 0, 1, open_low=True)
    check_count("mean_of_images", "steps", steps, 0)
    x = x.detach()
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype).to(x.device)
    moved = torch.zeros_like(x)
    for block in ensemble.tiles(x, memory):
        for tile in block:
            weights = {k: v[tile.draws] for k, v in ensemble.weights.items()}
            count = tile.draws.stop - tile.draws.start
            clean, labels = x[tile.images].expand(count, *x[tile.images].shape), y[tile.images]
            if steps == 0:
                images = (clean + epsilon * gradient_of_draws(ensemble, weights, clean, labels).sign()).clamp(0, 1)
            else:
                images = (clean + epsilon * (2 * noise[tile.images] - 1)).clamp(0, 1)
                for _ in range(steps):
                    images = images + step_size * gradient_of_draws(ensemble, weights, images, labels).sign()
                    images = (clean + (images - clean).clamp(-epsilon, epsilon)).clamp(0, 1)
            moved[tile.images] += images.sum(0) / len(ensemble)
    settings = {"steps": steps, "step_size": step_size, "seed": seed}
    return recorded("mean_of_images", ensemble, x, y, moved, epsilon, settings, memory)


def gradient_of_draws(ensemble: Ensemble, weights: dict[str, Tensor], images: Tensor, y: Tensor) -> Tensor:
    """Of each draw's own cross-entropy in its own images `[s, b, *image]`."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = torch.vmap(lambda w, t: functional_call(ensemble.network, w, (t,)))(weights, images)
        loss = F.cross_entropy(logits.flatten(0, 1), y.repeat(len(logits)), reduction="sum")
    return torch.autograd.grad(loss, images)[0]
