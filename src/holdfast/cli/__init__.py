"""The command line: `holdfast demo`, `diagnose`, `reproduce`, `data`, `runs`. Each command is one file of this folder.

Commands import what they need when they run, so that `holdfast --help` answers at once.
"""

from typing import Annotated

import typer

from holdfast import __version__
from holdfast.cli import data, demo, diagnose, reproduce, runs

INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt
AGAIN = 10.0  # seconds until an interrupt that was not heard is raised again
app = typer.Typer(
    help="Do a network's explanations hold under attack, and does a Bayesian treatment make them hold?",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="demo", epilog=demo.EXAMPLES)(demo.demo)
app.command(name="diagnose", epilog=diagnose.EXAMPLES)(diagnose.diagnose)
app.command(name="reproduce", epilog=reproduce.EXAMPLES)(reproduce.reproduce)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _interrupt(number: int, frame: object) -> None:
    """Raise what Ctrl-C raises, and again until it is heard: finalisers and some libraries throw away what comes."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
    raise KeyboardInterrupt


def _heard() -> None:
    import signal

    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Run the command line; what a user can mend is one line, not a traceback."""
    import signal
    import sys
    import warnings

    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    say = lambda kind, text: console.print(f"{kind} {escape(str(text))}", highlight=False, soft_wrap=True)
    for number in (signal.SIGINT, signal.SIGTERM):  # `kill` as Ctrl-C: workers end with the command
        signal.signal(number, _interrupt)
    warnings.showwarning = lambda message, *_, **__: say("[yellow]warning[/]", message)
    warnings.filterwarnings("ignore", "A worker stopped while some jobs")  # that have grown are renewed; none is lost
    try:
        app()
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        say("[red]error[/]", error)
        sys.exit(2)
    except MemoryError:
        say("[red]error[/]", "out of memory: this work needs more than --memory lets it have.")
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _heard()
            console.print("stopped; finished stages are kept and the same command goes on from there")
        raise
