"""Layer-wise relevance propagation as released, for networks of linear layers, convolutions, ReLUs and pools.

    epsilon   R_i = x_i sum_j w_ji R_j / (z_j + 0.1 s(z_j)),  s(0) = -1
    gamma     the same with w + 0.1 w w+ in place of w, and 1e-10 in place of 0.1
    alpha1    R_i = sum_j (x_i w_ji)+ / sum_i (x_i w_ji)+ R_j, no bias, 1e-6 where a denominator is zero

Released with "Resilience of Bayesian layer-wise explanations under adversarial attacks" (arXiv:2102.11010), on a copy
of TorchLRP. What is wrong with it:

- gamma is multiplied by the weight once more: w + 0.1 w+^2 instead of w + 0.1 w+. On small weights this is almost no
  gamma at all, on the weights of a N(0, 1) prior it is some: deterministic and Bayesian networks get different rules.
- 0.1 is absolute: large beside the activations of a trained network, nothing beside those of a N(0, 1) prior.
- A LeakyReLU multiplies the relevance of negative units by its slope, so relevance is lost.
- Relevance starts at 1 on each draw's own strongest class, chosen anew for every image: the maps of an image and of its
  attacked copy may explain two classes.
- In a residual network the rules reach the first convolution and the last layer; the blocks between, 18 layers of 20,
  hand relevance back by their plain gradient.
- At an inner layer the strongest unit after the next activation is explained, chosen anew again. For channels of an
  image an indexing slip gives every position of channel c as much relevance as there are positions where c leads.

`holdfast.explanations.lrp` is right.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from holdfast.checks import check_images
from holdfast.ensemble import Ensemble
from holdfast.networks.resnet import ResNet

ReleasedRule = Literal["epsilon", "gamma", "alpha1"]


def relevance_as_released(
    ensemble: Ensemble, x: Tensor, *, rule: ReleasedRule = "epsilon", layer: int | None = None
) -> Tensor:
    """The released maps `[S, B, *image]`, of which the release takes the mean over draws. For comparison only.

    Args:
        ensemble: draws of an `nn.Sequential`, or of a `ResNet`, also behind `normalised`.
        x: images `[B, *image]`.
        rule: "epsilon", "gamma" or "alpha1".
        layer: place of a linear layer or a convolution in the sequence, None for the last: what is explained is the
            strongest unit after the activation that follows it.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.LeakyReLU(), nn.Linear(3, 2))
    >>> relevance_as_released(Ensemble.from_networks(network), torch.rand(5, 1, 2, 2)).shape
    torch.Size([1, 5, 1, 2, 2])
    """
    check_images("relevance_as_released", x)
    if rule not in _RULES:
        raise ValueError(f"relevance_as_released: rule must be one of {', '.join(map(repr, _RULES))}, got {rule!r}.")
    if not isinstance(ensemble.network, nn.Sequential | ResNet):
        raise TypeError("relevance_as_released: the released code takes an nn.Sequential or a ResNet only.")
    parts = list(_parts(ensemble.network))
    weighted = [i for i, (_, m) in enumerate(parts) if isinstance(m, nn.Linear | nn.Conv2d)]
    if layer is not None and layer not in weighted:
        raise ValueError(f"relevance_as_released: layer must be one of {weighted}, got {layer}.")
    end = len(parts) if layer is None or layer == weighted[-1] else layer + 2
    with torch.no_grad():
        return torch.stack([_maps(parts[:end], _draw(ensemble, s), x, rule) for s in range(len(ensemble))])


def _parts(network: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What runs one after the other, by its name; blocks of a residual network stay whole."""
    for name, module in network.named_children():
        if isinstance(module, nn.Sequential | ResNet):
            yield from _parts(module, f"{prefix}{name}.")
        else:
            yield prefix + name, module


def _draw(ensemble: Ensemble, draw: int) -> dict[str, Tensor]:
    return {name: value[draw] for name, value in ensemble.weights.items()}


def _maps(parts: list[tuple[str, nn.Module]], weights: Mapping[str, Tensor], x: Tensor, rule: str) -> Tensor:
    inputs, runs, a = [], [], x
    for name, module in parts:
        inputs.append(a)
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        runs.append(partial(torch.func.functional_call, module, own))
        a = runs[-1](a)
    relevance = _start(a)
    for (name, module), a, run in zip(reversed(parts), reversed(inputs), reversed(runs), strict=True):
        if isinstance(module, nn.Linear | nn.Conv2d):
            forward = _linear if isinstance(module, nn.Linear) else _convolution(module)
            relevance = _RULES[rule](forward, a, weights[f"{name}.weight"], weights.get(f"{name}.bias"), relevance)
        else:  # whatever else: its gradient
            relevance = torch.func.vjp(run, a)[1](relevance)[0]
    return relevance


def _start(output: Tensor) -> Tensor:
    strongest = output.argmax(1)
    if output.ndim == 2:
        return F.one_hot(strongest, output.shape[1]).to(output.dtype)
    counts = F.one_hot(strongest.flatten(1), output.shape[1]).sum(1).to(output.dtype)
    return counts[:, :, None, None].expand_as(output)


Forward = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def _linear(a: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    return F.linear(a, w, b)


def _convolution(module: nn.Conv2d) -> Forward:
    return lambda a, w, b: F.conv2d(a, w, b, module.stride, module.padding)


def _pulled(forward: Forward, a: Tensor, w: Tensor, b: Tensor | None, relevance: Tensor, stabiliser: float) -> Tensor:
    z, pull = torch.func.vjp(lambda t: forward(t, w, b), a)
    return a * pull(relevance / (z + stabiliser * torch.where(z > 0, 1.0, -1.0)))[0]


def _epsilon(forward: Forward, a: Tensor, w: Tensor, b: Tensor | None, relevance: Tensor) -> Tensor:
    return _pulled(forward, a, w, b, relevance, 0.1)


def _gamma(forward: Forward, a: Tensor, w: Tensor, b: Tensor | None, relevance: Tensor) -> Tensor:
    w, b = (None if v is None else v + 0.1 * v * v.clamp(min=0) for v in (w, b))
    return _pulled(forward, a, w, b, relevance, 1e-10)


def _alpha1(forward: Forward, a: Tensor, w: Tensor, b: Tensor | None, relevance: Tensor) -> Tensor:
    up, down = a.clamp(min=0), a.clamp(max=0)
    z, pull = torch.func.vjp(lambda t, u: forward(t, w.clamp(min=0), None) + forward(u, w.clamp(max=0), None), up, down)
    above, below = pull(relevance / (z + 1e-6 * (z == 0)))
    return up * above + down * below


_RULES = {"epsilon": _epsilon, "gamma": _gamma, "alpha1": _alpha1}
