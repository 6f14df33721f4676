"""Facts: what a score promises of itself, readable by programs: what it compares, its range, its direction.

Every score of this room carries them as `score.facts`; a test holds each one to them. Reports take axis limits and
arrows from here, and attacks may only descend on scores that are differentiable.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Facts:
    """What holds for every value of a score.

    Attributes:
        compares: "maps" `[..., B, *image]`, or "predictions": log predictive probabilities `[..., B, C]`.
        low, high: the range of the values, both ends included. Equal inputs give the better end.
        better: "higher" where larger values mean that more survived the attack.
        differentiable: whether autograd gives its true derivative in the inputs, almost everywhere.
    """

    compares: Literal["maps", "predictions"]
    low: float
    high: float
    better: Literal["higher", "lower"]
    differentiable: bool


def declare(facts: Facts) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Attach facts to a score, which is otherwise unchanged.

    >>> @declare(Facts("predictions", 0, 1, "higher", differentiable=False))
    ... def agreement(clean, attacked):
    ...     return (clean.argmax(-1) == attacked.argmax(-1)).float()
    >>> agreement.facts.high
    1
    """

    def attach(score: Callable[..., Any]) -> Callable[..., Any]:
        score.facts = facts
        return score

    return attach
