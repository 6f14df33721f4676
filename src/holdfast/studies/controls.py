"""Controls: ensembles that a robustness claim must not favour, made from others.

loud    the same decisions with logits times a factor: where softmax saturates, float32 gradients vanish
"""

from dataclasses import replace

from holdfast.checks import check_range
from holdfast.ensemble import Ensemble
from holdfast.networks import learnable_layers


def loud(ensemble: Ensemble, *, factor: float = 100.0) -> Ensemble:
    """The ensemble with every logit multiplied by `factor`, by way of the last layer's weights.

    Args:
        ensemble: of networks whose last learnable layer gives the logits.
        factor: above 0.

    >>> import torch
    >>> from torch import nn
    >>> ensemble, x = Ensemble.from_networks(nn.Sequential(nn.Linear(3, 2))), torch.rand(4, 3)
    >>> bool(torch.allclose(loud(ensemble, factor=8.0).logits(x), 8 * ensemble.logits(x)))
    True
    """
    check_range("loud", "factor", factor, 0, 1e6, open_low=True)
    last = learnable_layers(ensemble.network)[-1]
    weights = {k: factor * v if k in (f"{last}.weight", f"{last}.bias") else v for k, v in ensemble.weights.items()}
    return replace(ensemble, weights=weights, diagnostics=None)
