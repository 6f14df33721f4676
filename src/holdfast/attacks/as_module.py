"""Adapter: an ensemble as a module that returns log predictive probabilities, for attacks of other libraries.

    foolbox.PyTorchModel(as_module(ensemble), bounds=(0, 1))
    torchattacks.PGD(as_module(ensemble), eps=8 / 255)

Log probabilities are logits of the same softmax, so cross-entropies of other libraries are those of the log predictive.
"""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from holdfast.attacks.search import check_ensemble
from holdfast.ensemble import Ensemble, log_predictive


def as_module(ensemble: Ensemble) -> nn.Module:
    """The ensemble as an `nn.Module`: images `[B, *image]` to log probabilities `[B, C]`, differentiable in the images.

    All draws on all images are computed at once, so choose the batch to fit the memory.

    >>> import torch
    >>> ensemble = Ensemble.from_networks([nn.Linear(3, 2), nn.Linear(3, 2)])
    >>> x = torch.rand(5, 3)
    >>> torch.allclose(as_module(ensemble)(x), ensemble.log_predictive(x))
    True
    """
    check_ensemble("as_module", ensemble)
    return _LogPredictive(ensemble).eval()


class _LogPredictive(nn.Module):
    def __init__(self, ensemble: Ensemble) -> None:
        super().__init__()
        self.ensemble = ensemble
        # other libraries read the device off the parameters
        self.register_parameter("where", nn.Parameter(next(iter(ensemble.weights.values())).new_zeros(()), False))

    def _apply(self, change: Callable, recurse: bool = True) -> nn.Module:  # what .to, .double and .cuda call
        weights = {name: change(value) for name, value in self.ensemble.weights.items()}
        self.ensemble = replace(self.ensemble, weights=weights)
        return super()._apply(change, recurse)

    def forward(self, x: Tensor) -> Tensor:
        return log_predictive(self.ensemble.call(x))
