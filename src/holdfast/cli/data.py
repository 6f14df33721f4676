"""`holdfast data list | fetch | verify`: which data sets there are, getting them, checking their files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.memory import DEFAULT, Memory

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.data import Check, Entry

app = typer.Typer(
    help="Data sets: list them, download them, check their files.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="Folder with data files; next are $HOLDFAST_DATA and the user's cache."
    ),
]
STYLES = {"official": "green", "same content": "green", "generated": "green", "damaged": "red", "missing": "yellow"}


@app.command(name="list", epilog="Example: `holdfast data list --data-dir ~/data`")
def list_data(
    data_dir: Folder = None,
    details: Annotated[bool, typer.Option("--details", help="Also licences, citations, checksums, addresses.")] = False,
    memory: Memory = DEFAULT,
) -> None:
    """Which data sets there are, and where their files lie on this machine."""
    from rich.table import Table

    from holdfast.data import catalogue
    from holdfast.data.finding import find
    from holdfast.machine import hold_to

    hold_to(memory)
    table = Table(title="Data sets", title_justify="left")
    for column in ("name", "training + test images", "shape", "where"):
        table.add_column(column, overflow="fold", no_wrap=column != "where")
    for entry in catalogue.ENTRIES.values():
        if entry.embedded or entry.layout == "formula":
            place = "with the package" if entry.embedded else "generated"
        else:
            found = find(entry, data_dir)
            place = str(found.archive or found.folder) if found else f"not here; `holdfast data fetch {entry.name}`"
        shape = " x ".join(map(str, entry.shape))
        table.add_row(entry.name, f"{entry.train:,} + {entry.test:,}", shape, place)
    console = _console()
    console.print(table)
    if details:
        for entry in catalogue.ENTRIES.values():
            _print_details(console, entry)


@app.command(
    epilog="Examples: `holdfast data fetch mnist`, `holdfast data fetch mnist cifar-10 --data-dir ~/data`",
)
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets to download; see `data list`.")],
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Folder to download to; by default the user's cache."),
    ] = None,
    memory: Memory = DEFAULT,
) -> None:
    """Download data sets from their publishers, checksums verified.

    Files that are there already with the right checksum are kept. A download that fails leaves nothing behind.
    The exit code is 1 if any data set could not be had.
    """
    from holdfast import data
    from holdfast.machine import hold_to

    hold_to(memory)
    _check_names(names)
    console, failed = _console(), False
    for name in names:
        try:
            paths = data.fetch(name, data_dir=data_dir)
        except (data.DataError, OSError) as error:
            _say(console, f"[red]failed[/] {name}: ", str(error))
            failed = True
        else:
            _say(console, f"[green]there[/] {name}: ", ", ".join(map(str, paths)) or "needs no files from outside")
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Examples: `holdfast data verify`, `holdfast data verify mnist --data-dir ~/data`")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Data sets to check; all of them by default.")
    ] = None,
    data_dir: Folder = None,
    memory: Memory = DEFAULT,
) -> None:
    """Check every file of the data sets: there, whole, and with the right content.

    The exit code is 1 if anything is damaged or missing.
    """
    from rich.table import Table

    from holdfast import data
    from holdfast.data.finding import check_data_dir
    from holdfast.machine import hold_to

    hold_to(memory)
    _check_names(names or [])
    console = _console()
    try:
        check_data_dir(data_dir)
    except data.DataError as error:
        _say(console, "[red]error[/] ", str(error))
        raise typer.Exit(1) from None
    checks = {name: data.verify(name, data_dir=data_dir) for name in names or data.catalogue.ENTRIES}

    table = Table(title="Data files", title_justify="left")
    for column in ("data set", "files", "state", "note"):
        table.add_column(column, overflow="fold", no_wrap=column != "note")
    for name, found in checks.items():
        for status in dict.fromkeys(check.status for check in found):
            same = [check for check in found if check.status == status]
            count = len(same) if Path(same[0].file).name != same[0].file else 0
            table.add_row(name, str(count or "-"), f"[{STYLES[status]}]{status}[/]", _note(same[0]))
    console.print(table)

    bad = [(name, check) for name, found in checks.items() for check in found if not check.good]
    for name, check in bad:
        _say(console, f"[{STYLES[check.status]}]{check.status}[/] {name}: ", check.note)
    if any(check.status == "damaged" for _, check in bad):
        _say(console, "", "Remove damaged files, then run `holdfast data fetch NAME` or put good copies there.")
    if bad:
        raise typer.Exit(1)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _say(console: "Console", marked: str, text: str) -> None:
    """A line of markup and then plain text, wrapped by the terminal so that paths can be copied."""
    from rich.markup import escape

    console.print(marked + escape(text), soft_wrap=True)


def _note(check: "Check") -> str:
    if not check.good:
        return "see below"
    return check.note or f"in {Path(check.file).parent}"


def _check_names(names: list[str]) -> None:
    from holdfast.data import DataError
    from holdfast.data.catalogue import entry

    for name in names:
        try:
            entry(name)
        except DataError as error:
            raise typer.BadParameter(str(error)) from None


def _print_details(console: "Console", entry: "Entry") -> None:
    _say(console, f"\n[bold]{entry.name}[/] ", entry.title)
    _say(console, "  cite      ", entry.citation)
    _say(console, "  licence   ", entry.licence)
    _say(console, "  homepage  ", entry.homepage)
    for piece in entry.pieces:
        _say(console, "  content   ", f"{piece.name}, {piece.size:,} bytes, sha256 {piece.sha256}")
    for download in entry.downloads:
        _say(console, "  download  ", f"{download.name}, {download.size:,} bytes, sha256 {download.sha256}")
        for address in download.addresses:
            _say(console, "            ", address)
