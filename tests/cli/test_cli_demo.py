"""What `holdfast demo` prints: its table, and of the checks against masked gradients."""

from types import SimpleNamespace

import pandas

from holdfast.cli.demo import _masking, _table
from synthetic_result import make_result


def test_failed_checks_are_printed_with_their_sentences():
    rows = [
        {"ensemble": "deterministic", "check": "order", "passed": True, "sentence": "fine."},
        {"ensemble": "mean_field", "check": "sizes", "passed": False, "sentence": "moved by only 20.0%."},
        {"ensemble": "mean_field", "check": "radius", "passed": None, "sentence": "left out."},
    ]
    printed = _masking(SimpleNamespace(checks=pandas.DataFrame(rows)))
    assert printed == ("1 of 2 checks against masked gradients passed.\n  mean_field, sizes: moved by only 20.0%.")


def test_clean_accuracy_is_of_the_images_that_were_attacked():
    """The accuracy on all test images, which stands in `masking`, is another number."""
    result = make_result()
    result.masking.loc[result.masking.attack == "clean", "accuracy"] = 0.01
    table, p, cell = _table(result), result.predictions, result.primary
    printed = {column.header: list(column.cells) for column in table.columns}
    for column, attack, found in (("clean", "pgd", p.clean_predicted), ("FGSM", "fgsm", p.predicted)):
        here = (p.attack == attack) & (p.epsilon == cell.epsilon)
        right = [(found == p.label)[here & (p.ensemble == e.name)].mean() for e in result.ensembles]
        assert printed[column] == [f"{100 * share:.0f}" for share in right]
