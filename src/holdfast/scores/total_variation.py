"""Total variation: how far apart two predictions are, as distributions over the classes.

    TV(p, q) = 1/2 sum_c |p(c | x) - q(c | x)|

Together with the share of images that get the same class (`label_preserved`) it is how Izmailov et al. 2021
(arXiv:2104.14421) compare an approximate posterior with a reference.
"""

import torch
from torch import Tensor

from holdfast.scores.facts import Facts, declare
from holdfast.scores.pairs import check_predictions


@declare(Facts("predictions", low=0.0, high=1.0, better="lower", differentiable=True))
def total_variation(clean: Tensor, attacked: Tensor) -> Tensor:
    """Total variation distance of two predictions, differentiable.

    Args:
        clean, attacked: log predictive probabilities `[..., B, C]` of one shape, of any two predictors.

    Returns:
        Values in [0, 1] of shape `[..., B]`; 0 for equal predictions.

    Raises:
        ValueError: different shapes, NaN, no image, or values that are not log probabilities.

    >>> total_variation(torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.6, 0.4]]).log())
    tensor([0.3000])
    """
    check_predictions("total_variation", clean, attacked)
    return ((torch.exp(clean) - torch.exp(attacked)).abs().sum(-1) / 2).clamp(0, 1)
