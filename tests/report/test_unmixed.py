"""What the draws say of themselves stands on the verdict page, and chains that have not mixed above all verdicts."""

import dataclasses

import numpy as np
import pandas
from synthetic_reproduction import make_reproduction
from test_page import Page

from holdfast import report
from holdfast.report.studies.posteriors import rows_of
from holdfast.report.studies.unmixed import unmixed


def diagnosed(treatment, **more):
    row = {"treatment": treatment, "seed": 0, "method": "hmc", "mixing": "ensemble of 2 local chains", "chains": 2.0}
    row |= {
        "kept": 20,
        "distinct": 17,
        "acceptance": 0.62,
        "accuracy": 0.981,
        "robustness": 0.7,
        "robustness_mcse": 0.004,
    }
    row |= {
        f"{f}_{what}_{n}": 1.23 for f in ("log_probability", "relevance") for what in ("rhat", "ess") for n in (50, 90)
    }
    return row | {"said": "", "deviation_over_prior": ""} | more


def test_what_draws_say_of_themselves_stands_on_the_page(tmp_path):
    found = make_reproduction()
    rows = [
        diagnosed("hmc", said="Chain 0 was <still> drifting."),
        diagnosed("deep_ensemble", chains=np.nan, deviation_over_prior="output.weight 0.64"),
    ]
    tables = dict(found.tables)
    for name in (("BE-F3", "MNIST", "corrected"), ("BE-F2", "MNIST", "corrected")):
        tables[name] = {**tables[name], "posteriors": pandas.DataFrame(rows)}
    page = Page(report.write_verdicts(dataclasses.replace(found, tables=tables), tmp_path).read_text(encoding="utf-8"))
    assert page.text.count("ensemble of 2 local chains") == 3  # shared by two figures: once an ensemble, and above all
    assert "HMC, embedded Fashion-MNIST, fc2 : Chain 0 was <still> drifting." in page.text
    first = page.text[page.text.index("lie on the claimed side") :]
    assert "The diagnosed posteriors that were sampled by chains have not mixed" in first[:400]
    assert "fc2: 17 of 20 draws are distinct, and its chains still drift. What is said" in first[:900]
    assert (
        "What the draws say of themselves"
        not in Page(report.write_verdicts(found, tmp_path).read_text(encoding="utf-8")).text
    )


def test_only_chains_that_have_not_mixed_are_warned_of():
    mixed, still = diagnosed("hmc", mixing="mixed in function space"), diagnosed("hmc")
    free = diagnosed("mean_field", chains=np.nan, mixing="independent draws")
    assert unmixed([("a", mixed), ("b", free)]) == ""
    assert unmixed([("a", mixed), ("b", still), ("c", free)]).startswith("1 of 2 diagnosed posteriors that")
    lost = still | {f"{f}_{n}": np.nan for f in ("log_probability", "relevance") for n in ("rhat_90", "ess_50")}
    assert "up to unknown" in unmixed([("a", lost)])


def test_of_fits_that_differ_in_seed_or_width_the_worst_is_shown(tmp_path):
    found = make_reproduction()
    rows = [
        diagnosed("hmc", network="fc2", width=width, seed=seed, kept=10 * width + seed)
        | {"log_probability_rhat_90": value}
        for width, seed, value in ((8, 0, 1.1), (8, 1, np.nan), (16, 0, 1.7), (16, 1, 1.3))
    ]
    order = ["treatment", "network", "width", "seed", "method"]
    table = pandas.DataFrame(rows)[[*order, *(c for c in rows[0] if c not in order)]]
    tables = dict(found.tables)
    for study in ("BE-F3", "BE-F2"):  # which share their fits
        tables[study, "MNIST", "corrected"] = {**tables[study, "MNIST", "corrected"], "posteriors": table}
    shown = dict(rows_of(dataclasses.replace(found, tables=tables)))
    (title,) = shown
    assert title == "HMC, embedded Fashion-MNIST, fc2 (the one of 4 that mixed worst)"
    assert shown[title]["kept"] == 160
