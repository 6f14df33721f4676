"""Diagnosis: the same tables for every posterior, whatever made it.

`diagnose` takes ensembles by name and gives a `Diagnosis`: what each sampler said of itself, R-hat, ESS and MCSE of
what its draws compute, how good its predictions are, also under shift, how far its chains are from each other and from
a reference, which differences the draws resolve, and a verdict. See `holdfast.diagnostics.mixing` for the words.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from holdfast.checks import check_count, check_kind, check_labels, check_seed
from holdfast.data import Split, balanced_subset
from holdfast.diagnostics.chains import check_finite
from holdfast.diagnostics.findings import CLEAN, Findings, differences
from holdfast.diagnostics.functions import Probe
from holdfast.diagnostics.shifts import shifts_for
from holdfast.ensemble import Ensemble, log_predictive
from holdfast.progress import track
from holdfast.tiles import MEMORY

if TYPE_CHECKING:
    from pandas import DataFrame

TABLES = ("samplers", "functions", "predictions", "agreement", "differences")


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What is known of some posteriors. Numbers that are not known or not defined are NaN.

    Attributes:
        settings: images, probe and seeds that every figure rests on.
        verdicts: per ensemble "mixed in function space", "partly mixed", "ensemble of K local chains", or, where there
            are no chains, "independent draws" or "one network".
        samplers: a row per ensemble: method, chains, draws, distinct draws, and what a sampler said of itself.
        functions: a row per ensemble and family of functions: R-hat, ESS and MCSE that 50, 90 and 99 % of them stay
            below (reach, for ESS).
        predictions: a row per ensemble and shift: accuracy, nll, Brier score, calibration error, entropy, MCSEs.
        agreement: a row per ensemble and partner ("between chains", or the reference).
        differences: a row per ensemble and quantity: its mean minus that of the first ensemble, and whether that is at
            least two Monte Carlo standard errors.
        curves: per ensemble and family, R-hat at 0 %, 1 %, ..., 100 % of the functions.
        notes: sentences that a reader must see beside the tables.
    """

    settings: Mapping[str, Any]
    verdicts: Mapping[str, str]
    samplers: "DataFrame"
    functions: "DataFrame"
    predictions: "DataFrame"
    agreement: "DataFrame"
    differences: "DataFrame"
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def table(self) -> "DataFrame":
        """One row per ensemble with the figures that a paper would print."""
        import pandas

        rows = []
        for name, found in self.verdicts.items():
            sampler, clean = _row(self.samplers, name), _row(self.predictions, name, shift=CLEAN)
            row = {
                "ensemble": name,
                "verdict": found,
                **{k: sampler[k] for k in ("method", "chains", "draws", "distinct")},
            }
            for family in ("true_class_log_probability", "relevance", "robustness"):
                own = _row(self.functions, name, functions_of=family)
                row |= {f"{family}_{k}": own[k] for k in ("rhat_90", "rhat_99", "ess_50")}
            held = _row(self.differences, name, quantity="mean_map_robustness")
            row |= {"mean_map_robustness": held["value"], "mean_map_robustness_mcse": held["mcse"]}
            row |= {k: clean[k] for k in ("accuracy", "nll", "nll_mcse", "brier", "ece", "entropy")}
            rows.append(row)
        return pandas.DataFrame(rows)

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file: NaN and infinity become None and "infinite"."""
        tables = {name: getattr(self, name).to_dict("records") for name in TABLES}
        found = {"settings": self.settings, "verdicts": self.verdicts, "curves": self.curves, "notes": self.notes}
        return _to_json(found | tables)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Diagnosis":
        """What `as_json` wrote."""
        import pandas

        tables = {name: pandas.DataFrame([_from_json(row) for row in found[name]]) for name in TABLES}
        curves = {
            name: {k: [_number(v) for v in values] for k, values in own.items()}
            for name, own in found["curves"].items()
        }
        return cls(found["settings"], found["verdicts"], **tables, curves=curves, notes=found["notes"])


def table(ensembles: Mapping[str, Ensemble], data: Split, **settings: Any) -> "DataFrame":
    """One row per ensemble; arguments as in `diagnose`."""
    return diagnose(ensembles, data, **settings).table


def diagnose(
    ensembles: Mapping[str, Ensemble],
    data: Split,
    *,
    reference: Ensemble | str | None = None,
    points: int = 50,
    images: int = 1000,
    probe: Probe | None = None,
    most: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
) -> Diagnosis:
    """Diagnose posteriors, all in the same way.

    Args:
        ensembles: by name; the first is what the others are compared with.
        data: test images with labels, on the device of the ensembles.
        reference: an ensemble whose predictions the others are held against, or the name of one of `ensembles`.
        points: class-balanced images that are attacked and explained.
        images: class-balanced images on which predictions are judged; all of them where there are fewer.
        probe: attack, top-k and rule of the explanations; by default linf of 0.1, 20 % and LRP-epsilon.
        most: how many functions of each family to examine, see `mixing`.
        seed: of the images, the shifts and the selections.
        memory: budget in bytes for the work of one moment.

    Raises:
        TypeError: an argument of another kind, such as a module where an ensemble is expected.
        ValueError: no ensembles, a reference that is not among them, ensembles of different classes, draws that chains
            cannot share, copies of a chain, values that are not finite.

    >>> import torch
    >>> from holdfast.networks import fc2
    >>> ensemble = Ensemble.from_networks([fc2((1, 5, 5), 2, width=8, seed=s) for s in range(6)])
    >>> data = Split(torch.rand(12, 1, 5, 5), torch.arange(12) % 2)
    >>> found = diagnose({"deep ensemble": ensemble}, data, points=4)
    >>> found.verdicts["deep ensemble"], len(found.predictions)
    ('independent draws', 4)
    """
    call = "diagnostics.diagnose"
    probe = Probe() if probe is None else probe
    _check(call, ensembles, data, reference, probe, memory)
    for name, value in (("points", points), ("images", images), ("most", most)):
        check_count(call, name, value)
    check_seed(call, seed)
    few = balanced_subset(data, min(points, len(data)), seed)
    many = data if images >= len(data) else balanced_subset(data, images, seed)
    held = _reference(ensembles, reference, many, memory)
    found = [
        Findings(name, ensemble, few, many, probe, held, most, seed, memory)
        for name, ensemble in track(ensembles.items(), "diagnosing", len(ensembles))
    ]
    settings = {
        "points": len(few), "images": len(many), "examined": most, "seed": seed, "probe": probe.as_json(),
        "shifts": {name: (shift.__doc__ or "").split("\n")[0] for name, shift in shifts_for(many.images).items()},
        "reference": reference if isinstance(reference, str) else ("given" if reference is not None else None),
    }  # fmt: skip
    return _assembled(settings, found)


def _check(
    call: str,
    ensembles: Mapping[str, Ensemble],
    data: Split,
    reference: Ensemble | str | None,
    probe: Probe,
    memory: int,
) -> None:
    """All that is compared must be of one kind, and have the classes of the labels."""
    if not isinstance(ensembles, Mapping):
        raise TypeError(
            f"{call}: ensembles must be a dict such as {{'hmc': ensemble}}, got {type(ensembles).__name__}; the names "
            "are those of the tables."
        )
    if not ensembles:
        raise ValueError(f"{call}: expected at least one ensemble by name, got none.")
    if not isinstance(data, Split):
        raise TypeError(f"{call}: data must be a Split such as dataset.test, got {type(data).__name__}.")
    check_kind(call, "probe", probe, Probe)
    given = {f"ensembles[{name!r}]": ensemble for name, ensemble in ensembles.items()}
    if isinstance(reference, str) and reference not in ensembles:
        raise ValueError(f"{call}: the reference {reference!r} is not among the ensembles {list(ensembles)}.")
    if reference is not None and not isinstance(reference, str):
        given["reference"] = reference
    for name, ensemble in given.items():
        if not isinstance(ensemble, Ensemble):
            raise TypeError(
                f"{call}: {name} must be an Ensemble{' or a name' * (name == 'reference')}, got "
                f"{type(ensemble).__name__}; use Ensemble.from_networks(...) for networks."
            )
    for name, ensemble in given.items():
        check_finite(call, name, ensemble)
    classes = {name: e.logits(data.images[:1], memory=memory).shape[-1] for name, e in given.items()}
    if len(set(classes.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in classes.items())
        raise ValueError(f"{call}: all must have the same classes, {told}; diagnose them one by one.")
    check_labels(call, data.labels, len(data), next(iter(classes.values())))


def _assembled(settings: dict[str, Any], found: list[Findings]) -> Diagnosis:
    import pandas

    frame = lambda rows: pandas.DataFrame([{"ensemble": name, **row} for name, row in rows])
    first = found[0].compared()
    return Diagnosis(
        settings=settings,
        verdicts={f.name: f.verdict for f in found},
        samplers=frame((f.name, f.sampler) for f in found),
        functions=frame((f.name, row) for f in found for row in f.functions()),
        predictions=frame((f.name, row) for f in found for row in f.predictions),
        agreement=frame((f.name, row) for f in found for row in f.agreement),
        differences=frame(row for f in found for row in differences(f.name, f.compared(), found[0].name, first)),
        curves={f.name: {k: m.curve() for k, m in f.families.items() if len(m.rhat)} for f in found},
        notes=[note for f in found for note in f.notes],
    )


def _reference(
    ensembles: Mapping[str, Ensemble], reference: Ensemble | str | None, data: Split, memory: int
) -> tuple[str, Tensor] | None:
    if reference is None:
        return None
    if isinstance(reference, str):
        return reference, log_predictive(ensembles[reference].logits(data.images, memory=memory).double())
    return "reference", log_predictive(reference.logits(data.images, memory=memory).double())


def _row(frame: "DataFrame", ensemble: str, **where: str) -> Mapping[str, Any]:
    chosen = frame[frame.ensemble == ensemble]
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return chosen.iloc[0]


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "infinite" if value > 0 else None
    return value.item() if hasattr(value, "item") else value


def _from_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _number(v) if v is None or v == "infinite" else v for k, v in row.items()}


def _number(value: Any) -> float:
    return math.nan if value is None else math.inf if value == "infinite" else value
