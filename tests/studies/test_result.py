"""A result that lacks a column or names an unknown ensemble is refused where it is made."""

import dataclasses

import pytest

from holdfast.studies.result import Cell
from synthetic_result import make_result

RESULT = make_result(epsilons=(0.1,), rules=("epsilon",), layers=("input",), images=12, examples=1)


@pytest.mark.parametrize(("table", "column"), [("scores", "chance"), ("comparisons", "p_holm"), ("checks", "passed")])
def test_a_missing_column_is_named(table, column):
    with pytest.raises(ValueError, match=rf"Result: the table '{table}' lacks the columns \['{column}'\]"):
        dataclasses.replace(RESULT, **{table: getattr(RESULT, table).drop(columns=column)})


def test_an_unknown_ensemble_is_named():
    with pytest.raises(ValueError, match=r"'masking' names the ensembles \['other'\], but `ensembles` has only"):
        dataclasses.replace(RESULT, masking=RESULT.masking.assign(ensemble="other"))
    with pytest.raises(ValueError, match=r"'primary' names the ensembles \['other'\]"):
        dataclasses.replace(RESULT, primary=Cell("other", "pgd", 0.1, "epsilon"))


def test_an_ensemble_is_found_by_its_name():
    assert RESULT.ensemble("mean_field").title == "Mean-field posterior"
