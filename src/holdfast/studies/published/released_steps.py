"""Gradient steps on probabilities, as released: FGSM and PGD on the softmax of the average, taken for logits.

    x <- P(x + a sign(grad_x CE(softmax(p(x)), y))),    p = (1/S) sum_s softmax(f_s(x)),    the last x is kept

Released with "Robustness of Bayesian neural networks to gradient-based attacks" (arXiv:2002.04359). What is wrong:

- The loss takes probabilities for logits, see `double_softmax`: where the average is sure its gradient is next to zero,
  and in float32 exactly zero, and the sign of zero is zero.
- The step of PGD is 2 over the largest pixel, 2 in images of [0, 1], whatever the radius: every iterate is a corner of
  the box, and the last one is returned whether or not it is the best that was met. So PGD can do less than FGSM, and
  less than noise, which was read as robustness.

`holdfast.attacks.fgsm` and `holdfast.attacks.pgd` are right.
"""

import torch.nn.functional as F
from torch import Tensor

from holdfast.attacks.attacked import Attacked
from holdfast.checks import check_count, check_images, check_labels, check_range
from holdfast.ensemble import Ensemble
from holdfast.studies.published.double_softmax import double_softmax_cross_entropy
from holdfast.studies.published.recorded import recorded
from holdfast.tiles import MEMORY


def released_steps(
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    epsilon: float = 0.1,
    steps: int = 0,
    step_size: float = 2.0,
    logits: bool = False,
    memory: int = MEMORY,
) -> Attacked:
    """The released attacks on an ensemble. For comparison only.

    Args:
        ensemble: the draws.
        x: images `[B, *image]` in [0, 1].
        y: true labels `[B]`.
        epsilon: radius in linf.
        steps: 0 for FGSM; the paper's PGD takes 15.
        step_size: of PGD.
        logits: whether the network handed over logits, as the released deterministic ones do: the loss is then right.
        memory: budget in bytes.

    >>> import torch
    >>> loud = torch.nn.Linear(1, 2, bias=False)
    >>> loud.weight.data = torch.tensor([[1000.0], [0.0]])
    >>> x, y = torch.tensor([[0.5]]), torch.tensor([0])
    >>> released_steps(Ensemble.from_networks(loud), x, y).images  # the probability is 1: no gradient, no step
    tensor([[[0.5000]]])
    """
    check_images("released_steps", x)
    check_labels("released_steps", y, len(x))
    check_range("released_steps", "epsilon", epsilon, 0, 1, open_low=True)
    check_count("released_steps", "steps", steps, 0)
    moved = x.detach()

    def loss(outputs: Tensor, images: slice) -> Tensor:
        if logits:
            return F.cross_entropy(outputs.mean(0), y[images], reduction="none")
        return double_softmax_cross_entropy(outputs, y[images])

    for _ in range(max(steps, 1)):
        _, gradient = ensemble.value_and_gradient(moved, loss, memory=memory)
        moved = moved + (step_size if steps else epsilon) * gradient.sign()
        moved = (x + (moved - x).clamp(-epsilon, epsilon)).clamp(0, 1)
    settings = {"steps": steps, "step_size": step_size, "logits": logits}
    return recorded("released_steps", ensemble, x.detach(), y, moved, epsilon, settings, memory)
