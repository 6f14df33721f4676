"""holdfast reproduce: what is refused before any work."""

import pytest
from typer.testing import CliRunner

from holdfast.cli import app


def refused(*arguments):
    result = CliRunner().invoke(app, ["reproduce", *arguments])
    assert isinstance(result.exception, ValueError)
    return str(result.exception)


def test_a_panel_that_a_figure_does_not_have():
    assert "BE-F9 has no panel called 'MNIST'; its panels are '(a) FGSM', '(b) PGD'" in refused(
        "BE-F3", "BE-F9", "--panel", "MNIST"
    )
    assert "no figure has a panel called 'Mars'" in refused("all", "--panel", "Mars")


@pytest.mark.parametrize("options", [["--preset", "right"], ["--slurm", "partition=cpu", "--cluster", "tcp://here:1"]])
def test_options_that_make_no_sense(options):
    assert "reproduce: " in refused("BE-F3", *options)


def test_a_figure_that_is_none():
    assert "BE-F99" in refused("BE-F99")
