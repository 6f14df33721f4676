"""Search: what all searches share. The radii folded into the batch, what counts as success, the best image so far.

A search proposes images; this object asks the ensemble about them, keeps for every input and radius the best proposal
(a success before a failure, then the largest margin of the log predictive) and writes the result, after asserting that
the budget was kept.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.answers import check_classes, check_values
from holdfast.attacks.attacked import Attacked, sizes
from holdfast.attacks.objectives import ObjectiveFunction, margin_of, objective_function
from holdfast.attacks.signs import signs
from holdfast.budget import Budget
from holdfast.checks import check_images, check_labels, check_memory
from holdfast.ensemble import Ensemble, log_predictive


class Search:
    """One attack under way on `E` radii x `B` images, folded into `N = E * B` rows.

    Attributes:
        x, y, radius: the rows' clean images `[N, *image]`, labels `[N]` and radii `[N]`.
        clean: log predictive `[B, C]` on the clean images.
        best: the best image found so far for every row; at first the clean image.
        margin: how wrong the log predictive is on it (targeted: how right about the target).
        success: whether it is misclassified (targeted: classified as the target).
        succeeded: which of the proposals of the last call did so.
        smallest: whether among successes the smallest perturbation is the best, not the largest margin.
    """

    def __init__(
        self,
        call: str,
        ensemble: Ensemble,
        x: Tensor,
        y: Tensor,
        *,
        budget: Budget,
        objective: str | ObjectiveFunction = "margin",
        targeted: bool = False,
        smallest: bool = False,
        memory: int,
    ) -> None:
        check_kinds(call, ensemble, budget)
        check_memory(call, memory)
        check_images(call, x)
        budget.check_inside(call, x)
        self.call, self.ensemble, self.budget, self.memory = call, ensemble, budget, memory
        self.targeted, self.smallest = targeted, smallest
        self.objective, self.target = objective_function(call, objective, targeted), None
        x = x.detach()
        self.clean = self._ask(x)
        check_classes(call, self.clean, len(x))
        check_labels(call, y, len(x), self.clean.shape[-1])
        folds = len(budget.epsilons)
        self.x, self.y = x.repeat(folds, *[1] * (x.ndim - 1)), y.to(x.device, torch.int64).repeat(folds)
        self.radius = torch.tensor(budget.epsilons, dtype=x.dtype, device=x.device).repeat_interleave(len(x))
        self.best = self.x.clone()
        self.margin, self.success = self._verdict(self.clean.repeat(folds, 1), self.y)
        self.succeeded = self.success

    @property
    def rows(self) -> Tensor:
        """The numbers of all rows."""
        return torch.arange(len(self.x), device=self.x.device)

    @property
    def waiting(self) -> Tensor:
        """The numbers of the rows without success so far."""
        return (~self.success).nonzero()[:, 0]

    def project(self, moved: Tensor, rows: Tensor) -> Tensor:
        """The proposals for these rows, put back into their budgets."""
        return self.budget.project(moved, self.x[rows], self.radius[rows])

    def steepest(self, gradient: Tensor, moved: Tensor) -> Tensor:
        """The steepest direction of unit size at `moved` that does not push against the ends of the pixel range."""
        if self.budget.norm == "linf":  # where a pixel is pushed beyond the range the projection brings it back
            return self.budget.steepest(gradient)
        return self.budget.steepest(self.budget.free(gradient, moved))

    def spread(self, values: Tensor) -> Tensor:
        """One value per row, shaped to meet images."""
        return values.view(-1, *[1] * (self.x.ndim - 1))

    def aim(self, objective: str | ObjectiveFunction, target: Tensor | None = None) -> None:
        """Raise this objective from now on; with classes `target` `[N]` it is called as (logits, labels, target)."""
        self.objective, self.target = objective_function(self.call, objective), target

    def forget(self) -> None:
        """Let the next proposals win, whatever the clean images' margins."""
        self.margin.fill_(-torch.inf)
        self.success.fill_(False)

    def gradient(self, moved: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Value `[n]` and gradient of the objective (to be raised) at proposals for these rows, which are noted."""
        margin, success = torch.empty_like(self.radius[rows]), torch.empty_like(self.success[rows])

        def objective(logits: Tensor, images: slice) -> Tensor:
            margin[images], success[images] = self._verdict(log_predictive(logits.detach()), self.y[rows[images]])
            value = self._raised(logits, rows[images])
            if not value.requires_grad:
                raise ValueError(
                    f"{self.call}: the objective does not depend differentiably on the logits (it is constant, "
                    "detached, or made of decisions such as argmax); return a function of them that has a derivative."
                )
            return value

        try:
            value, gradient = self.ensemble.value_and_gradient(moved, objective, memory=self.memory)
        except RuntimeError as error:
            raise self._explained(error) from error
        if not bool(torch.isfinite(gradient.sum())) and not bool(torch.isfinite(gradient).all()):
            raise ValueError(
                f"{self.call}: the objective's gradient holds NaN or infinite values; look for overflowing logits or "
                "an operation without a finite derivative in the network."
            )
        self._note(moved, margin, success, rows)
        return value, gradient

    def value(self, moved: Tensor, rows: Tensor) -> Tensor:
        """Value `[n]` of the objective at proposals for these rows, which are noted; without a gradient."""
        logits = self.ensemble.logits(moved, memory=self.memory)
        self._note(moved, *self._verdict(log_predictive(logits), self.y[rows]), rows)
        return self._raised(logits, rows)

    def judge(self, moved: Tensor, rows: Tensor) -> Tensor:
        """Note proposals for these rows; return which of them succeed `[n]`."""
        self._note(moved, *self._verdict(self._ask(moved), self.y[rows]), rows)
        return self.succeeded

    def finish(self, name: str, settings: Mapping[str, Any]) -> Attacked:
        """The result: the best image of every row."""
        return self.report(name, self.best.unflatten(0, (len(self.budget.epsilons), -1)), self.budget, settings)

    def report(self, name: str, images: Tensor, budget: Budget, settings: Mapping[str, Any]) -> Attacked:
        """The result with these images `[E, B, *image]`: budget asserted, classes predicted afresh, checks made."""
        x, y = self.x[: len(self.clean)], self.y[: len(self.clean)]
        for moved, epsilon in zip(images, budget.epsilons, strict=True):
            budget.assert_kept(moved, x, torch.full_like(self.radius[: len(x)], epsilon))
        predicted = self._ask(images.flatten(0, 1)).argmax(-1).view(len(images), -1)
        success = predicted == y if self.targeted else predicted != y
        settings = {"norm": budget.norm, "targeted": self.targeted, **settings}
        found = Attacked(
            name, images, success, self.clean.argmax(-1), predicted, *sizes(images, x), budget.epsilons, settings
        )
        given = dict(budget=budget, targeted=self.targeted, memory=self.memory)
        return replace(found, masking=signs(self.ensemble, x, y, found, **given))

    def _ask(self, moved: Tensor) -> Tensor:
        try:
            return self.ensemble.log_predictive(moved, memory=self.memory)
        except RuntimeError as error:
            raise self._explained(error) from error

    def _raised(self, logits: Tensor, rows: Tensor) -> Tensor:
        given = (logits, self.y[rows]) if self.target is None else (logits, self.y[rows], self.target[rows])
        value = self.objective(*given)
        check_values(self.call, "the objective", value, len(rows))
        return -value if self.targeted and self.target is None else value

    def _verdict(self, log_p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        margin, wrong = margin_of(log_p, y), log_p.argmax(-1) != y
        return (-margin, ~wrong) if self.targeted else (margin, wrong)

    def _note(self, moved: Tensor, margin: Tensor, success: Tensor, rows: Tensor) -> None:
        self.succeeded = success
        rank, old, had = margin, self.margin[rows], self.success[rows]
        if self.smallest:
            rank = torch.where(success, -self.budget.size(moved, self.x[rows]), rank)
            old = torch.where(had, -self.budget.size(self.best[rows], self.x[rows]), old)
        better = (success & ~had) | ((success == had) & (rank > old))
        self.best[rows[better]] = moved[better]
        self.margin[rows] = torch.where(better, margin, self.margin[rows])
        self.success[rows] = success | had

    def _explained(self, error: RuntimeError) -> Exception:
        if "random" in str(error) and "vmap" in str(error):
            return ValueError(
                f"{self.call}: the network draws random numbers when it is called; fix its draws as members of the "
                "ensemble, or turn the randomness off (eval mode)."
            )
        if "does not require grad" in str(error) or "not have been used in the graph" in str(error):
            return ValueError(
                f"{self.call}: the network's output does not depend differentiably on its input (a detach, no_grad, or "
                "an operation without derivative); remove it, or attack without gradients: attacks.square."
            )
        return error


def check_kinds(call: str, ensemble: Ensemble, budget: Budget) -> None:
    """What is attacked must be an `Ensemble`, and how far a `Budget`."""
    check_ensemble(call, ensemble)
    if not isinstance(budget, Budget):
        raise TypeError(f"{call}: budget must be a Budget, got {budget!r}; write Budget('linf', 0.1).")


def check_ensemble(call: str, ensemble: Ensemble) -> None:
    """A network is an ensemble of one, but has to be made one."""
    if not isinstance(ensemble, Ensemble):
        raise TypeError(
            f"{call}: expected an Ensemble, got {type(ensemble).__name__}; write Ensemble.from_networks(network)."
        )
