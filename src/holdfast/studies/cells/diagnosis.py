"""diagnosis: what the draws of an ensemble say of themselves, as one row.

Settings: data, points (that are attacked and explained draw by draw), images (that are predicted), seed. Needs:
ensemble. `mixing` is the verdict of `diagnostics.diagnose` in words; R-hat and the effective sample size are of the
log probability of the true class and of the relevance of single pixels, each at 50, 90 and 99 % of the functions;
`robustness_mcse` is the Monte Carlo error of the k-LRP of the mean map at 20 %, or at one pixel where that is more;
`deviation_over_prior` is, layer by layer, the posterior's standard deviation over the prior's, for fits that know it;
`said` are the warnings of the fit. Numbers that the method does not have are NaN.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast.diagnostics import Probe, diagnose
from holdfast.studies.codecs import TableCodec
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.images import dataset_of

if TYPE_CHECKING:
    from pandas import DataFrame

FAMILIES = {"log_probability": "true_class_log_probability", "relevance": "relevance"}
LEVELS = (50, 90, 99)
SAMPLER = ("acceptance", "rms_energy_error", "divergences", "e_bfmi", "gradients")
PREDICTIONS = ("accuracy", "nll", "ece")


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> "DataFrame":
    """Diagnose."""
    import pandas

    ensemble, data = needs["ensemble"], dataset_of(settings, context)
    counts = {name: settings[name] for name in ("points", "images", "seed")}
    pixels = math.prod(data.shape[1:] or data.shape)
    probe = Probe(k=max(Probe.k, math.ceil(100 / pixels)))  # half moons have two
    found = diagnose({"it": ensemble}, data.test, **counts, probe=probe, memory=context.memory)
    sampler, clean = found.samplers.iloc[0], found.predictions.iloc[0]
    row = {"method": sampler["method"], "mixing": found.verdicts["it"], "chains": float(sampler["chains"])}
    row |= {"kept": int(sampler["draws"]), "distinct": int(sampler["distinct"])}
    row |= {name: float(sampler[name]) for name in SAMPLER} | {name: float(clean[name]) for name in PREDICTIONS}
    for short, family in FAMILIES.items():
        own = found.functions[found.functions.functions_of == family].iloc[0]
        row |= {f"{short}_{what}_{n}": float(own[f"{what}_{n}"]) for what in ("rhat", "ess") for n in LEVELS}
    held = found.differences[found.differences.quantity == "mean_map_robustness"].iloc[0]
    row |= {"robustness": float(held["value"]), "robustness_mcse": float(held["mcse"])}
    fit = ensemble.diagnostics
    ratios = dict(fit.summary.get("deviation_over_prior", {})) if fit else {}
    row |= {"deviation_over_prior": ", ".join(f"{layer} {ratio:.2f}" for layer, ratio in ratios.items())}
    return pandas.DataFrame([row | {"said": " ".join(fit.warnings if fit else ())}])


KIND = Kind(compute, TableCodec(), ("attacks", "data", "diagnostics", "explanations", "scores"))
