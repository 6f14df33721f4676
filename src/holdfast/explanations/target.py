"""Target: what is explained. The model, the images and the class are validated and settled here for every method.

A number is made of the logits `f_s` of draw `s`, and a method explains that number by the pixels:

    score            f_s,t                                     the logit of class t
    margin           f_s,t - max_{j != t} f_s,j                the class against its strongest rival under that draw
    log_probability  log softmax(f_s)_t                        one draw's own probability of the class
    log_predictive   log (1/S) sum_s softmax(f_s)_t            the Bayesian model average itself: one map, not S

The class `t` is the same for all draws. Where none is given it is the class of the Bayesian model average at `x`.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from holdfast.checks import check_images, check_labels
from holdfast.ensemble import Ensemble, log_predictive, skeleton
from holdfast.explanations.relevance.heatmap import check_evaluation
from holdfast.tiles import MEMORY

Named = Literal["score", "margin", "log_probability", "log_predictive"]
Of = Named | Callable[[Tensor, Tensor], Tensor]  # or (logits [s, B, C], target [B]) -> one number [s, B]
Target = Tensor | int | None


def as_ensemble(call: str, model: Ensemble | nn.Module, *, differentiable: bool = False) -> Ensemble:
    """An ensemble as it is, or a network in evaluation mode as an ensemble of one.

    Its weights are copies: a forward pass that changes its own buffers changes those of the copy.

    Args:
        call: the name of the function whose argument this is, for the message.
        model: what came.
        differentiable: keep the way back to the network's own parameters, for gradients in the weights.

    >>> network = nn.Linear(2, 3)
    >>> ensemble = as_ensemble("doctest", network)
    >>> len(ensemble), torch.equal(ensemble.weights["weight"][0], network.weight)
    (1, True)
    """
    if isinstance(model, Ensemble):
        return model
    if not isinstance(model, nn.Module):
        raise TypeError(f"{call}: expected an Ensemble or a torch.nn.Module, got {type(model).__name__}.")
    check_evaluation(call, model)
    tensors = (*model.named_parameters(), *model.named_buffers())
    return Ensemble(skeleton(model), {k: (v if differentiable else v.detach().clone())[None] for k, v in tensors})


def check_fit(call: str, ensemble: Ensemble, x: Tensor) -> None:
    """Images must be a sound batch, of the weights' floating-point type and on their device."""
    check_images(call, x)
    if (x.dtype, x.device) != (ensemble.dtype, ensemble.device):
        raise TypeError(
            f"{call}: images are {x.dtype} on {x.device}, the weights {ensemble.dtype} on {ensemble.device}; "
            "use x.to(ensemble.device, ensemble.dtype) or ensemble.to(x.device, x.dtype)."
        )


def settle(
    call: str,
    model: Ensemble | nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    memory: int = MEMORY,
    differentiable: bool = False,
) -> tuple[Ensemble, Tensor]:
    """Validate what a method is asked to explain.

    Args:
        call: the name of the method, for messages.
        model: an ensemble, or one network.
        x: images `[B, ...]` of the ensemble's dtype, on its device.
        target: the class to explain, `[B]` or one for all images; None for the class of the Bayesian model average.
        memory: budget in bytes of the forward pass that None needs.
        differentiable: see `as_ensemble`.

    Returns:
        the ensemble, and the class `[B]` (int64, on the device of `x`).

    Raises:
        TypeError, ValueError: what came, what was expected, what to do.

    >>> _, target = settle("doctest", nn.Linear(2, 3), torch.rand(4, 2), 1)
    >>> target
    tensor([1, 1, 1, 1])
    """
    ensemble = as_ensemble(call, model, differentiable=differentiable)
    check_fit(call, ensemble, x)
    if target is None:
        logits = ensemble.logits(x.detach(), memory=memory)
        _check_logits(call, logits, len(x))
        return ensemble, log_predictive(logits).argmax(-1)
    if isinstance(target, int) and not isinstance(target, bool):
        target = torch.full((len(x),), target, device=x.device)
    with torch.no_grad():
        logits = ensemble.call(x[:1].detach(), slice(1))
    _check_logits(call, logits, 1)
    check_labels(call, target, len(x), logits.shape[-1])
    return ensemble, target.to(x.device, torch.int64)


def explained(call: str, of: Of, logits: Tensor, target: Tensor) -> Tensor:
    """The number that is explained: logits `[s, B, C]` and classes `[B]` to `[s, B]`, or `[1, B]` for "log_predictive".

    >>> logits = torch.tensor([[[3., 1., 2.]], [[0., 0., 0.]]])
    >>> explained("doctest", "margin", logits, torch.tensor([0]))
    tensor([[1.],
            [0.]])
    """
    check_of(call, of)
    if callable(of):
        values = of(logits, target)
        if not isinstance(values, Tensor) or values.shape != logits.shape[:2]:
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"{call}: of(logits, target) must give {tuple(logits.shape[:2])} numbers, got {got}.")
        return values
    index = target.expand(len(logits), -1)[..., None]
    pick = lambda values: values.gather(-1, index).squeeze(-1)
    if of == "score":
        return pick(logits)
    if of == "margin":
        return pick(logits) - logits.scatter(-1, index, -torch.inf).amax(-1)
    if of == "log_probability":
        return pick(logits.log_softmax(-1))
    return log_predictive(logits).gather(-1, target[:, None]).T


def check_of(call: str, of: Of) -> None:
    """`of` must be one of the names above or a function."""
    if not callable(of) and of not in get_args(Named):
        names = ", ".join(map(repr, get_args(Named)))
        raise ValueError(f"{call}: of must be one of {names} or a function of (logits, target), got {of!r}.")


def _check_logits(call: str, logits: Tensor, count: int) -> None:
    if logits.ndim != 3 or logits.shape[1] != count or logits.shape[2] < 2:
        raise ValueError(
            f"{call}: the network must map images [B, ...] to logits [B, C] of at least two classes, "
            f"got {tuple(logits.shape[1:])} for {count} images."
        )
