"""What `holdfast demo` prints of the checks against masked gradients."""

from types import SimpleNamespace

import pandas

from holdfast.cli.demo import _masking


def test_failed_checks_are_printed_with_their_sentences():
    rows = [
        {"ensemble": "deterministic", "check": "order", "passed": True, "sentence": "fine."},
        {"ensemble": "mean_field", "check": "sizes", "passed": False, "sentence": "moved by only 20.0%."},
        {"ensemble": "mean_field", "check": "radius", "passed": None, "sentence": "left out."},
    ]
    printed = _masking(SimpleNamespace(checks=pandas.DataFrame(rows)))
    assert printed == ("1 of 2 checks against masked gradients passed.\n  mean_field, sizes: moved by only 20.0%.")
