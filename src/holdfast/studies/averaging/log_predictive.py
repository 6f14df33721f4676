"""The gradient of the loss of the Bayesian model average, put together from those of the draws' own losses.

    grad(-log E p)  =  sum_s w_s grad(-log p_s),      w_s = p_s / sum_t p_t,  p_s = p(y | x, w_s)

It is what an attack on the ensemble follows, and not the mean of the losses' gradients: the draws that are right have
the largest weights and the smallest gradients.
"""

from typing import Any

import torch
from torch import Tensor


class LogPredictive:
    """Gradients of one draw after the other.

    >>> found = LogPredictive()
    >>> for gradient, p in ((1.0, 0.9), (4.0, 0.1)):
    ...     found.add(torch.tensor([[gradient]]), torch.tensor([p]).log())
    >>> round(found.gradient.item(), 3)
    1.3
    """

    def __init__(self) -> None:
        self.top: Any = None

    def add(self, gradient: Tensor, log_p: Tensor) -> None:
        """The next draw's gradient `[B, F]` and log probability of the label `[B]`, in float64."""
        if self.top is None:
            self.top, self.total, self.weight = log_p, gradient.clone(), torch.ones_like(log_p)
            return
        top = torch.maximum(self.top, log_p)
        old, new = (self.top - top).exp(), (log_p - top).exp()
        self.total = self.total * old[:, None] + gradient * new[:, None]
        self.weight = self.weight * old + new
        self.top = top

    @property
    def gradient(self) -> Tensor:
        """Of the draws so far `[B, F]`."""
        return self.total / self.weight[:, None]
