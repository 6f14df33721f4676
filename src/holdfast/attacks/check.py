"""Check: one question about an attack or a model, its pass rule and what was found; Masking: a list of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """A check of an attack or a model, with its pass rule and a plain sentence.

    Attributes:
        name: which.
        passed: whether the pass rule holds.
        value: the figure, or figures, that the rule is about.
        rule: the pass rule.
        sentence: what was found, in plain words; where the check failed, what that means.
    """

    name: str
    passed: bool
    value: Any
    rule: str
    sentence: str


@dataclass(frozen=True)
class Masking:
    """Checks against masked gradients, with the figures behind them. Prints as a table.

    Attributes:
        checks: the checks, in order.
        figures: plain numbers and lists, ready for JSON.
    """

    checks: tuple[Check, ...]
    figures: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if not check.passed)

    def __str__(self) -> str:
        return "\n".join(f"{'pass' if c.passed else 'FAIL'}  {c.name}: {c.sentence}" for c in self.checks)
