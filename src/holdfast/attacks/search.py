"""Search: what all searches share. The radii folded into the batch, what counts as success, the best image so far.

A search proposes images; this object asks the ensemble about them, keeps for every input and radius the best proposal
(a success before a failure, then the largest margin of the log predictive) and writes the result, after asserting that
the budget was kept.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.attacked import Attacked, sizes
from holdfast.attacks.objectives import ObjectiveFunction, margin_of, objective_function
from holdfast.budget import Budget
from holdfast.checks import check_images, check_labels
from holdfast.ensemble import Ensemble, log_predictive


class Search:
    """One attack under way on `E` radii x `B` images, folded into `N = E * B` rows.

    Attributes:
        x, y, radius: the rows' clean images `[N, *image]`, labels `[N]` and radii `[N]`.
        best: the best image found so far for every row; at first the clean image.
        margin: how wrong the log predictive is on it (targeted: how right about the target).
        success: whether it is misclassified (targeted: classified as the target).
    """

    def __init__(
        self,
        call: str,
        ensemble: Ensemble,
        x: Tensor,
        y: Tensor,
        *,
        budget: Budget,
        objective: str | ObjectiveFunction,
        targeted: bool,
        memory: int,
    ) -> None:
        check_images(call, x)
        budget.check_inside(call, x)
        self.call, self.ensemble, self.budget, self.memory, self.targeted = call, ensemble, budget, memory, targeted
        self.objective = objective_function(call, objective)
        x = x.detach()
        clean = ensemble.log_predictive(x, memory=memory)
        check_labels(call, y, len(x), clean.shape[-1])
        if not bool(torch.isfinite(clean).all()):
            raise ValueError(f"{call}: the ensemble gives NaN or infinite log probabilities on the clean images.")
        folds = len(budget.epsilons)
        self.clean_predicted = clean.argmax(-1)
        self.x, self.y = x.repeat(folds, *[1] * (x.ndim - 1)), y.to(x.device).repeat(folds)
        self.radius = torch.tensor(budget.epsilons, dtype=x.dtype, device=x.device).repeat_interleave(len(x))
        self.best = self.x.clone()
        self.margin, self.success = self._verdict(clean.repeat(folds, 1), self.y)

    def project(self, moved: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """The proposals for these rows, put back into their budgets."""
        return self.budget.project(moved, self.x[rows], self.radius[rows])

    def spread(self, values: Tensor) -> Tensor:
        """One value per row, shaped to meet images."""
        return values.view(-1, *[1] * (self.x.ndim - 1))

    def waiting(self) -> Tensor:
        """The rows without success so far."""
        return (~self.success).nonzero()[:, 0]

    def forget(self) -> None:
        """Let the next proposals win, whatever the clean images' margins."""
        self.margin.fill_(-torch.inf)
        self.success.fill_(False)

    def gradient(self, moved: Tensor, rows: Tensor | slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Value `[n]` and gradient of the objective (to be raised) at proposals for these rows, which are noted."""
        y, sign = self.y[rows], -1 if self.targeted else 1
        margin, success = torch.empty_like(self.radius[rows]), torch.empty_like(y, dtype=torch.bool)

        def objective(logits: Tensor, images: slice) -> Tensor:
            margin[images], success[images] = self._verdict(log_predictive(logits.detach()), y[images])
            return sign * self.objective(logits, y[images])

        value, gradient = self.ensemble.value_and_gradient(moved, objective, memory=self.memory)
        if not bool(torch.isfinite(gradient).all()):
            raise ValueError(
                f"{self.call}: the objective's gradient holds NaN or infinite values; look for overflowing logits or "
                "an operation without a finite derivative in the network."
            )
        self._note(moved, margin, success, rows)
        return value, gradient

    def judge(self, moved: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """Note proposals for these rows without a gradient; return their margins `[n]`."""
        log_p = self.ensemble.log_predictive(moved, memory=self.memory)
        margin, success = self._verdict(log_p, self.y[rows])
        self._note(moved, margin, success, rows)
        return margin

    def finish(self, name: str, settings: Mapping[str, Any]) -> Attacked:
        """The result: the best image of every row, its budget asserted and its class predicted afresh."""
        self.budget.assert_kept(self.best, self.x, self.radius)
        folds, count = len(self.budget.epsilons), len(self.clean_predicted)
        predicted = self.ensemble.predict(self.best, memory=self.memory)
        success = predicted == self.y if self.targeted else predicted != self.y
        size_linf, size_l2 = sizes(self.best, self.x)
        return Attacked(
            name,
            self.best.unflatten(0, (folds, count)),
            success.view(folds, count),
            self.clean_predicted,
            predicted.view(folds, count),
            size_linf.view(folds, count),
            size_l2.view(folds, count),
            self.budget.epsilons,
            {"norm": self.budget.norm, "targeted": self.targeted, "objective": self.objective.__name__, **settings},
        )

    def _verdict(self, log_p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        margin, wrong = margin_of(log_p, y), log_p.argmax(-1) != y
        return (-margin, ~wrong) if self.targeted else (margin, wrong)

    def _note(self, moved: Tensor, margin: Tensor, success: Tensor, rows: Tensor | slice) -> None:
        old, had = self.margin[rows], self.success[rows]
        better = (success & ~had) | ((success == had) & (margin > old))
        self.best[rows] = torch.where(self.spread(better), moved, self.best[rows])
        self.margin[rows] = torch.where(better, margin, old)
        self.success[rows] = success | had
