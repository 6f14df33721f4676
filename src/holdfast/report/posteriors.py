"""Tables of the section on posteriors: mixing, predictions under shift, agreement, differences the draws resolve."""

import math
from typing import TYPE_CHECKING

from holdfast.diagnostics.functions import TITLES
from holdfast.diagnostics.mixing import ONE
from holdfast.report.tables import Column, Table
from holdfast.report.view import View
from holdfast.report.wording import DASH, number, percent, plain, resolution, signed

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = (50, 90, 99)
QUANTITIES = {
    "headline": "k-LRP of the headline",
    "mean_map_robustness": "robustness of the mean map",
    "robustness": "mean robustness of a draw",
    "nll": "NLL",
    "brier": "Brier score",
    "entropy": "entropy",
}


def verdicts(view: View) -> Table:
    """Per ensemble: the verdict, draws and chains, what the sampler said of itself."""
    columns = (
        Column("verdict", words=True),
        Column("draws"),
        Column("that differ"),
        Column("chains"),
        Column("acceptance"),
        Column("rms energy error"),
        Column("divergences"),
        Column("E-BFMI"),
        Column("gradients"),
    )
    diagnosis, groups = view.result.diagnosis, []
    for row in diagnosis.samplers.to_dict("records"):
        counts = [_count(row[c]) for c in ("draws", "distinct", "chains")]
        figures = [number(row[c]) for c in ("acceptance", "rms_energy_error")]
        cells = [diagnosis.verdicts[row["ensemble"]], *counts, *figures, _count(row["divergences"])]
        groups.append((_title(view, row), [[*cells, number(row["e_bfmi"]), _count(row["gradients"])]]))
    return Table("Verdicts on the posteriors", "ensemble", columns, groups)


def mixing(view: View) -> Table:
    """Per ensemble of several draws and family of functions: R-hat, ESS and MCSE."""
    columns = (
        Column("of each draw", words=True),
        Column("that vary"),
        *(Column(f"{level} %", "R-hat below") for level in LEVELS),
        *(Column(f"{level} %", "ESS at least") for level in LEVELS),
        *(Column(f"{level} %", "MCSE below") for level in LEVELS),
    )
    diagnosis, groups = view.result.diagnosis, []
    for name, verdict in diagnosis.verdicts.items():
        own = diagnosis.functions[diagnosis.functions.ensemble == name].to_dict("records")
        rows = [_mixing(row) for row in own] if verdict != ONE else []
        if rows:
            groups.append((_title(view, own[0]), rows))
    return Table("R-hat, effective sample size and Monte Carlo error", "ensemble", columns, groups)


def predictions(view: View) -> Table:
    """Per ensemble and shift: accuracy, scores of the probabilities, entropy."""
    columns = (
        Column("images", words=True),
        Column("accuracy"),
        Column("NLL"),
        Column("Brier score"),
        Column("calibration error"),
        Column("entropy"),
    )
    groups: dict[str, list[list[str]]] = {}
    for row in view.result.diagnosis.predictions.to_dict("records"):
        scores = [_with_error(row[c], row[f"{c}_mcse"]) for c in ("nll", "brier", "entropy")]
        cells = [row["shift"], percent(row["accuracy"]), *scores[:2], number(row["ece"], 3), scores[2]]
        groups.setdefault(_title(view, row), []).append(cells)
    return Table("Predictions on the test images as they are, and changed", "ensemble", columns, list(groups.items()))


def agreement(view: View) -> Table:
    """Per ensemble: how far its chains are from each other, and its predictions from the reference's."""
    columns = (
        Column("with", words=True),
        Column("same class"),
        Column("worst pair"),
        Column("total variation"),
        Column("worst pair"),
    )
    groups: dict[str, list[list[str]]] = {}
    for row in view.result.diagnosis.agreement.to_dict("records"):
        if math.isfinite(row["agreement"]):
            alike = [percent(row[c]) for c in ("agreement", "agreement_worst")]
            apart = [number(row[c], 3) for c in ("total_variation", "total_variation_worst")]
            partner = {e.name: e.title for e in view.result.ensembles}.get(row["with"], row["with"])
            groups.setdefault(_title(view, row), []).append([partner, *alike, *apart])
    return Table("Agreement of chains, and with the reference", "ensemble", columns, list(groups.items()))


def differences(view: View) -> Table:
    """Per ensemble and quantity: its difference to the first ensemble, and whether the draws resolve it."""
    columns = (
        Column("of", words=True),
        Column("value"),
        Column("difference"),
        Column("its Monte Carlo error"),
        Column("", words=True),
    )
    groups: dict[str, list[list[str]]] = {}
    for row in view.result.diagnosis.differences.to_dict("records"):
        if row["ensemble"] != row["minus"]:
            cells = [QUANTITIES[row["quantity"]], number(row["value"], 3), signed(row["difference"], 4)]
            word = resolution(row)
            groups.setdefault(_title(view, row), []).append([*cells, number(row["difference_mcse"], 4), word])
    return Table("Differences to the first ensemble", "ensemble", columns, list(groups.items()))


def _mixing(row: "Mapping[str, float]") -> list[str]:
    cells = [TITLES[row["functions_of"]], plain(int(row["functions"] - row["constant"]))]
    for name, digits in (("rhat", 2), ("ess", 0), ("mcse", 4)):
        cells += ["∞" if row[f"{name}_{q}"] == math.inf else number(row[f"{name}_{q}"], digits) for q in LEVELS]
    return cells


def _with_error(value: float, error: float) -> str:
    return number(value, 3) if error == 0 else f"{number(value, 3)} ± {number(error, 3)}"


def _count(value: float) -> str:
    return plain(int(value)) if value is not None and math.isfinite(value) else DASH


def _title(view: View, row: "Mapping[str, str]") -> str:
    return view.result.ensemble(row["ensemble"]).title
