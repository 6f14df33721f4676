"""Softmax robustness: how little the predicted probabilities move under the attack.

    1 - max_c |p(c | x) - p(c | x~)|

Carbone et al., "Robustness of Bayesian neural networks to gradient-based attacks" (NeurIPS 2020), and Carbone,
Bortolussi and Sanguinetti (IJCNN 2022). The true label plays no part. Predictions come as log predictive probabilities,
and are checked to be such, so that no softmax can be taken twice.
"""

import torch
from torch import Tensor

from holdfast.scores.facts import Facts, declare
from holdfast.scores.pairs import check_predictions


@declare(Facts("predictions", low=0.0, high=1.0, better="higher", differentiable=True))
def softmax_robustness(clean: Tensor, attacked: Tensor) -> Tensor:
    """One minus the largest change of a class probability, differentiable.

    Args:
        clean, attacked: log predictive probabilities `[..., B, C]` of one shape.

    Returns:
        Values in [0, 1] of shape `[..., B]`.

    Raises:
        ValueError: different shapes, NaN, no image, or values that are not log probabilities.

    >>> clean, attacked = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.6, 0.4]])
    >>> softmax_robustness(clean.log(), attacked.log())
    tensor([0.7000])
    """
    check_predictions("softmax_robustness", clean, attacked)
    change = (torch.exp(clean) - torch.exp(attacked)).abs()
    return (1 - change.amax(-1)).clamp(0, 1)
