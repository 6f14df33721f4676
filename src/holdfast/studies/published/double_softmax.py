"""Softmax applied to probabilities: an objective and a score, as released.

    loss           CE(softmax(p), y),   p = (1/S) sum_s softmax(f_s(x))
    robustness     1 - max_c |softmax(p(x))_c - softmax(p(x'))_c|

Released with "Robustness of Bayesian neural networks to gradient-based attacks" (arXiv:2002.04359), whose networks
return probabilities that are then given to a loss, and to a score, that expect logits. What is wrong with it:

- The second softmax sees numbers in [0, 1], so the loss of ten classes lies in [1.46, 2.46] whatever the network says,
  and its gradient, J (softmax(p) - y) with J = diag(p) - p p^T, is zero where the prediction is sure. "The expected
  gradient vanishes" is then a property of the loss.
- The score of ten classes cannot fall below 1 - (e - 1) / (e + 9) = 0.853, while the score of a deterministic network,
  whose outputs are logits, ranges over [0, 1]. The two were compared.

`holdfast.attacks.objectives` and `holdfast.scores.softmax_robustness` are right.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.ensemble import log_predictive


def double_softmax_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """The released loss of the draws' logits `[S, b, C]`: an objective for `holdfast.attacks`. For comparison only.

    >>> sure = torch.tensor([[[900.0, 0.0]]])
    >>> double_softmax_cross_entropy(sure, torch.tensor([0])), double_softmax_cross_entropy(sure, torch.tensor([1]))
    (tensor([0.3133]), tensor([1.3133]))
    """
    return F.cross_entropy(log_predictive(logits).exp(), y, reduction="none")


def double_softmax_robustness(clean: Tensor, attacked: Tensor) -> Tensor:
    """The released score of log predictives `[B, C]` on clean and attacked images. For comparison only.

    >>> clean, attacked = torch.eye(10)[:1].log(), torch.eye(10)[1:2].log()  # from one certainty to another
    >>> double_softmax_robustness(clean, attacked)
    tensor([0.8534])
    """
    first, second = (torch.softmax(log.exp(), -1) for log in (clean, attacked))
    return 1 - (first - second).abs().amax(-1)
