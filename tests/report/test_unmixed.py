"""What the draws say of themselves stands on the verdict page, and chains that have not mixed above all verdicts."""

import dataclasses

import numpy as np
import pandas
from synthetic_reproduction import make_reproduction
from test_page import Page

from holdfast import report
from holdfast.report.studies.posteriors import fits_of, posteriors, remarks
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
    first = page.text[page.text.index("claims of one paper") :]
    assert "The diagnosed posteriors that were sampled by chains have not mixed" in first[:400]
    assert "fc2, 17 of 20. The chains of 1 of 1 still drift. What is said" in first[:900]
    assert (
        "What the draws say of themselves"
        not in Page(report.write_verdicts(found, tmp_path).read_text(encoding="utf-8")).text
    )


def test_only_chains_that_have_not_mixed_are_warned_of():
    mixed, still = diagnosed("hmc", mixing="mixed in function space"), diagnosed("hmc")
    free = diagnosed("mean_field", chains=np.nan, mixing="independent draws")
    assert unmixed({"a": [mixed], "b": [free]}) == ""
    assert unmixed({"a": [mixed], "b": [still], "c": [free]}).startswith("1 of 2 diagnosed posteriors that")
    lost = still | {f"{f}_{n}": np.nan for f in ("log_probability", "relevance") for n in ("rhat_90", "ess_50")}
    assert "up to unknown" in unmixed({"a": [lost]})


def fits(**rhat):
    """Rows of HMC that differ in width and seed, with these limits of R-hat."""
    of = lambda value: {f"{f}_rhat_90": value for f in ("log_probability", "relevance")}
    rows = [diagnosed("hmc", network="fc2", **of(value), **more) for value, more in rhat.values()]
    return pandas.DataFrame(rows)


def page_with(table):
    found = make_reproduction()
    tables = dict(found.tables)
    for study in ("BE-F3", "BE-F2"):  # which share their fits
        tables[study, "MNIST", "corrected"] = {**tables[study, "MNIST", "corrected"], "posteriors": table}
    return dataclasses.replace(found, tables=tables)


def test_of_fits_that_differ_in_seed_or_width_the_worst_is_shown():
    mixed = {"mixing": "mixed in function space"}
    found = page_with(
        fits(a=(1.1, {"kept": 10}), b=(1.7, {"kept": 11, "said": "It drifts."}), c=(1.01, {"kept": 12} | mixed))
    )
    (shown,) = posteriors(found).groups
    assert shown[0] == "HMC, embedded Fashion-MNIST, fc2 (the one that mixed worst of 3)"
    assert shown[1][0][:2] == ["ensemble of 2 local chains", "11"]
    assert remarks(found) == [(shown[0], "1 of 3 fits warned. It drifts.")]
    text = unmixed(fits_of(found))
    assert text.startswith("2 of 3 diagnosed posteriors")
    assert "is up to 1.10 to 1.70 for" in text
    assert (
        "Distinct draws: HMC, embedded Fashion-MNIST, fc2, 17 of 10 to 11 in 2 fits. The chains of 1 of 2 still drift."
        in text
    )


def test_chains_of_which_nothing_is_known_are_no_better_than_others():
    found = page_with(fits(a=(np.nan, {"kept": 4}), b=(1.7, {"kept": 11})))
    ((_, rows),) = posteriors(found).groups
    assert rows[0][1] == "4"


def test_ensembles_without_chains_do_not_mix():
    free = {"chains": np.nan, "mixing": "independent draws"}
    found = page_with(fits(a=(np.nan, {"kept": 4} | free), b=(np.nan, {"kept": 11} | free)))
    ((title, _),) = posteriors(found).groups
    assert title == "HMC, embedded Fashion-MNIST, fc2 (one of 2)"


def test_a_panel_whose_diagnoses_all_failed_has_no_row():
    assert posteriors(page_with(pandas.DataFrame())) is None
