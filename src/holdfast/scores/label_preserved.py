"""Label preserved: whether the attack left the predicted class as it was.

    argmax_c p(c | x) = argmax_c p(c | x~)

An explanation of another class is rightly another explanation. So every score is reported apart for images whose label
was kept and images whose label changed.
"""

import torch
from torch import Tensor

from holdfast.scores.facts import Facts, declare
from holdfast.scores.pairs import check_predictions


@declare(Facts("predictions", low=0.0, high=1.0, better="higher", differentiable=False))
def label_preserved(clean: Tensor, attacked: Tensor) -> Tensor:
    """Whether the most probable class stays the same; among equals, the first counts.

    Args:
        clean, attacked: log predictive probabilities `[..., B, C]` of one shape.

    Returns:
        Booleans `[..., B]`.

    Raises:
        ValueError: different shapes, NaN, no image, or values that are not log probabilities.

    >>> label_preserved(torch.tensor([[0.9, 0.1], [0.6, 0.4]]).log(), torch.tensor([[0.7, 0.3], [0.2, 0.8]]).log())
    tensor([ True, False])
    """
    check_predictions("label_preserved", clean, attacked)
    return torch.argmax(clean, -1) == torch.argmax(attacked, -1)
