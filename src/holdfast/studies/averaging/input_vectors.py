"""Input vectors: what one draw says about an image, as a vector of the image's size, `[B, F]` in float64.

    loss             gradient of the draw's own cross-entropy, exact however sure the draw is
    double_softmax   gradient of the released loss, a cross-entropy that takes probabilities for logits; float32
    logit            gradient of f_y - mean_c f_c
    lrp              heatmap of the class that the whole ensemble predicts, epsilon-rule

float32 rounds the gradient of a cross-entropy to zero once 1 - p_y rounds to zero. Here the factor that goes back
through the network, softmax(f) - onehot(y), is computed in float64 with 1 - p_y as a sum of the others, scaled to size
1 for the way, and scaled back afterwards.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from holdfast.ensemble import Ensemble
from holdfast.explanations import Epsilon, lrp
from holdfast.studies.functions import function_of

Vectors = Callable[[Ensemble, Tensor, Tensor, Tensor, int], Tensor]  # (one draw, x, y, predicted class, memory)


def loss(draw: Ensemble, x: Tensor, y: Tensor, predicted: Tensor, memory: int) -> Tensor:
    """Gradient of `-log softmax(f(x))_y`.

    >>> network = torch.nn.Linear(1, 2, bias=False)
    >>> network.weight.data = torch.tensor([[200.0], [0.0]])  # p_y is 1 in float32, its gradient 0
    >>> loss(Ensemble.from_networks(network), torch.ones(1, 1), torch.tensor([0]), torch.tensor([0]), 10**9).item() < 0
    True
    """
    logits = draw.logits(x, memory=memory)[0].double()
    others = logits.softmax(-1).scatter(-1, y[:, None], 0.0)
    factor = others.scatter(-1, y[:, None], -others.sum(-1, keepdim=True))
    size = factor.abs().amax(-1, keepdim=True)
    return _pulled_back(draw, x, torch.where(size > 0, factor / size, 0.0), memory) * size


def double_softmax(draw: Ensemble, x: Tensor, y: Tensor, predicted: Tensor, memory: int) -> Tensor:
    """Gradient of the released loss."""
    released = function_of("holdfast.studies.published.double_softmax_cross_entropy")
    _, gradient = draw.value_and_gradient(x, lambda logits, images: released(logits, y[images]), memory=memory)
    return gradient.flatten(1).double()


def logit(draw: Ensemble, x: Tensor, y: Tensor, predicted: Tensor, memory: int) -> Tensor:
    """Gradient of the label's logit, less the mean of all."""
    classes = draw.logits(x[:1], memory=memory).shape[-1]
    factor = torch.nn.functional.one_hot(y, classes).double() - 1 / classes
    return _pulled_back(draw, x, factor, memory)


def lrp_map(draw: Ensemble, x: Tensor, y: Tensor, predicted: Tensor, memory: int) -> Tensor:
    """Heatmap of the predicted class."""
    return lrp(draw, x, predicted, rule=Epsilon(), memory=memory)[0].flatten(1).double()


VECTORS: dict[str, Vectors] = {"loss": loss, "double_softmax": double_softmax, "logit": logit, "lrp": lrp_map}


def _pulled_back(draw: Ensemble, x: Tensor, factor: Tensor, memory: int) -> Tensor:
    """The gradient of `<factor, f(x)>` in x."""

    def objective(logits: Tensor, images: slice) -> Tensor:
        return (factor[images].to(logits) * logits[0]).sum(-1)

    return draw.value_and_gradient(x, objective, memory=memory)[1].flatten(1).double()
