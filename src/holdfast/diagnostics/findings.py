"""Findings: all that a diagnosis says of one ensemble, row by row, before it is laid beside others."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from holdfast.data import Split
from holdfast.diagnostics.chains import chains_of, check_copies, distinct_draws, random_weights
from holdfast.diagnostics.functions import TITLES, Probe, functions_of, maps_of
from holdfast.diagnostics.mean_map import mean_map_robustness
from holdfast.diagnostics.mixing import LEAST, LOCAL, Mixing, mean_and_error, mixing, verdict
from holdfast.diagnostics.predictions import agreement_between_chains, agreement_with, predictive_figures
from holdfast.diagnostics.shifts import shifts_for
from holdfast.ensemble import Ensemble, log_predictive

SAMPLER = (
    "acceptance", "rms_energy_error", "divergences", "e_bfmi", "step_size", "trajectory", "leapfrog_steps", "gradients",
)  # fmt: skip
CLEAN = "clean"


class Findings:
    """What is found of one ensemble.

    Args:
        name: of the ensemble.
        ensemble: its draws.
        few: images that are attacked and explained.
        many: images on which predictions are judged.
        probe: attack, top-k and rule of the explanations.
        held: name and log predictive of the reference on `many`.
        most: how many functions of each family to examine.
        seed: of the selections.
        memory: budget in bytes for the work of one moment.

    Attributes:
        verdict: see `mixing.verdict`.
        families: per family of functions, what is known of its mixing.
        sampler: a row of figures.
        predictions, agreement: rows.
        notes: sentences.
    """

    def __init__(
        self,
        name: str,
        ensemble: Ensemble,
        few: Split,
        many: Split,
        probe: Probe,
        held: tuple[str, Tensor] | None,
        most: int,
        seed: int,
        memory: int,
    ) -> None:
        self.name, self.chains = name, chains_of(ensemble)
        check_copies(f"diagnostics.diagnose: {name}", ensemble, self.chains)
        maps = maps_of(ensemble, few.images, few.labels, probe, memory=memory)
        values = functions_of(maps, few.labels, probe)
        self.families = {k: mixing(v, self.chains, most=most, seed=seed) for k, v in values.items()}
        self.verdict = verdict(self.families, len(ensemble))
        self.weights = mixing(random_weights(ensemble, most, seed), self.chains, most=most, seed=seed)
        settings = {"k": probe.k, "image_axes": few.images.ndim - 1, "seed": probe.seed}
        self.robustness = {
            "mean_map_robustness": mean_map_robustness(maps.clean, maps.attacked, self.chains, **settings),
            "robustness": mean_and_error(values["robustness"].double().mean(1), self.chains),
        }
        self.sampler = self._sampler(ensemble)
        self.predictions, self.agreement = [], []
        for shift, change in {CLEAN: None, **shifts_for(many.images)}.items():
            logits = ensemble.logits(many.images if change is None else change(many.images), memory=memory)
            self.predictions.append({"shift": shift, **predictive_figures(logits, many.labels, self.chains)})
            if change is None:
                self._agree(logits, held)
        said = ensemble.diagnostics.warnings if ensemble.diagnostics else ()
        self.notes = [*(f"{name}: {warning}" for warning in said), *self._notes()]

    def functions(self) -> list[dict[str, Any]]:
        """Rows of the table of functions."""
        families: dict[str, Mixing] = {**self.families, "weights": self.weights}
        return [{"functions_of": family, **found.row()} for family, found in families.items()]

    def compared(self) -> dict[str, tuple[float, float]]:
        """Mean and Monte Carlo error of what is compared between ensembles; NaN for draws that never moved."""
        clean = self.predictions[0]
        found = self.robustness | {k: (clean[k], clean[f"{k}_mcse"]) for k in ("nll", "brier", "entropy")}
        still = self.sampler["draws"] > self.sampler["distinct"] == 1
        return {k: (value, math.nan if still else error) for k, (value, error) in found.items()}

    def _sampler(self, ensemble: Ensemble) -> dict[str, Any]:
        said = ensemble.diagnostics
        summary = said.summary if said else {}
        row = {"method": said.method if said else "unknown", "chains": self.chains or math.nan, "draws": len(ensemble)}
        return row | {"distinct": distinct_draws(ensemble)} | {k: _figure(k, summary.get(k)) for k in SAMPLER}

    def _agree(self, logits: Tensor, held: tuple[str, Tensor] | None) -> None:
        self.agreement.append({"with": "between chains", **agreement_between_chains(logits, self.chains)})
        if held is not None and held[0] != self.name:
            found = agreement_with(log_predictive(logits.double()), held[1])
            self.agreement.append({"with": held[0], **found})

    def _notes(self) -> list[str]:
        notes = []
        draws = self.sampler["draws"]
        if self.sampler["distinct"] < draws and self.chains is None:
            notes.append(f"{self.name}: only {self.sampler['distinct']} of {draws} draws differ.")
        constant = [TITLES[k] for k, found in self.families.items() if found.constant == found.functions]
        if constant and draws > 1:
            notes.append(f"{self.name}: {', '.join(constant)}: one value for all draws, which says nothing of mixing.")
        if self.chains == 1:
            notes.append(f"{self.name}: one chain alone cannot show whether it mixes; run several.")
        if self.chains is not None and draws // self.chains < LEAST:
            notes.append(f"{self.name}: {draws // self.chains} draws per chain are too few for R-hat, ESS and MCSE.")
        elif self.verdict.startswith(LOCAL):
            notes.append(f"{self.name}: its chains have not met, so its Monte Carlo errors may be larger than stated.")
        return notes


def differences(
    name: str, own: Mapping[str, tuple[float, float]], minus: str, others: Mapping[str, tuple[float, float]]
) -> list[tuple[str, dict[str, Any]]]:
    """Rows of the table of differences, from (value, Monte Carlo error) of each quantity of two ensembles."""
    rows = []
    for quantity, (value, error) in own.items():
        other, its_error = others[quantity]
        difference, both = value - other, math.hypot(error, its_error)
        resolved = name != minus and difference != 0 and abs(difference) >= 2 * both
        row = {"minus": minus, "quantity": quantity, "value": value, "mcse": error, "difference": difference}
        rows.append((name, row | {"difference_mcse": both, "resolved": bool(resolved)}))
    return rows


def _figure(name: str, value: Any) -> float:
    """A sampler's figure; of one per chain, the mean, or the smallest where small is bad."""
    several = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    known = [float(v) for v in several if isinstance(v, int | float)]
    if not known:
        return math.nan
    return min(known) if name == "e_bfmi" else sum(known) / len(known)
