"""Starts: where relevance begins: a logit's value, one, a margin over the strongest other class, or a unit's value.

logit    R_c = f_c
one      R_c = 1
margin   R_c = f_c, R_k = -f_k for the strongest other class k: together f_c - f_k, the log-odds of the two
"""

from collections.abc import Callable

import torch
from torch import Tensor

Start = str | Callable[[Tensor], Tensor]
STARTS = ("logit", "one", "margin")


def check_start(call: str, start: Start) -> None:
    """`start` must be one of the names or a function."""
    if not callable(start) and start not in STARTS:
        raise ValueError(
            f"{call}: start must be one of {', '.join(map(repr, STARTS))} or a function from outputs [B, C] to "
            f"relevance of the same shape, got {start!r}."
        )


def begin(call: str, outputs: Tensor, start: Start, target: Tensor | None) -> tuple[Tensor, bool]:
    """The relevance that starts at `outputs`, and whether it vanishes wherever they do.

    Args:
        call: the public function, for messages.
        outputs: logits `[B, C]`, or the activations `[B, ...]` of a layer.
        start: see the module.
        target: flat index of the class or unit `[B]`; None for the largest.
    """
    if callable(start):
        relevance = start(outputs)
        if not isinstance(relevance, Tensor) or relevance.shape != outputs.shape:
            got = tuple(relevance.shape) if isinstance(relevance, Tensor) else type(relevance).__name__
            raise ValueError(f"{call}: start must return relevance of shape {tuple(outputs.shape)}, got {got}.")
        return relevance, False
    flat = outputs.flatten(1)
    chosen = flat.argmax(1, keepdim=True) if target is None else target.unsqueeze(1)
    value = flat.gather(1, chosen)
    zero = torch.zeros_like(flat)
    if start == "one":
        return zero.scatter(1, chosen, torch.ones_like(value)).view_as(outputs), False
    relevance = zero.scatter(1, chosen, value)
    if start == "margin":
        if flat.shape[1] < 2:
            raise ValueError(f"{call}: start='margin' needs at least two classes, got {flat.shape[1]}.")
        others = flat.scatter(1, chosen, torch.full_like(value, -torch.inf))
        rival = others.argmax(1, keepdim=True)
        relevance = relevance.scatter(1, rival, -flat.gather(1, rival))
    return relevance.view_as(outputs), True
