"""`holdfast runs list | show | verify | gc`: what is in run folders, and whether it is whole."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.memory import DEFAULT, Memory

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.studies.runs import Run

app = typer.Typer(
    help="Run folders: list them, show one, check its files, remove what is left over.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
Folder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, such as runs/demo.")]


@app.command(name="list", epilog="Example: `holdfast runs list runs`")
def list_runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to look, in all its folders.")] = Path("runs"),
    memory: Memory = DEFAULT,
) -> None:
    """The runs in a folder: how many stages are finished, how long they took, what they fill."""
    from rich.filesize import decimal
    from rich.table import Table

    from holdfast.machine import hold_to
    from holdfast.studies.runs import find_runs

    hold_to(memory)
    found, console = find_runs(folder), _console()
    if not found:
        console.print(f"no runs in {folder}; `holdfast demo` makes one")
        return
    table = Table()
    for column in ("run", "holdfast", "stages", "minutes", "size", "last written (UTC)"):
        table.add_column(column, overflow="fold", no_wrap=column != "run")
    for run in found:
        version = run.manifest.get("versions", {}).get("holdfast", "?")
        when = run.changed.strftime("%Y-%m-%d %H:%M")
        table.add_row(str(run.path), version, f"{len(run.stages)}", f"{run.seconds / 60:.1f}", decimal(run.bytes), when)
    console.print(table)


@app.command(epilog="Example: `holdfast runs show runs/demo`")
def show(run: Folder, memory: Memory = DEFAULT) -> None:
    """One run: what made it, and its stages with their seconds and files."""
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table

    found, console = _opened(run, memory), _console()
    for name, value in found.manifest.items():
        if name != "stages":
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            console.print(f"[bold]{escape(str(name))}[/]  {escape(str(text))}", highlight=False)
    table = Table()
    for column in ("stage", "seconds", "size", "file"):
        table.add_column(column, overflow="fold", no_wrap=column in ("seconds", "size"))
    for name, record in found.stages.items():
        file = found.path / record["file"]
        size = decimal(file.stat().st_size) if file.is_file() else "[red]missing[/]"
        table.add_row(escape(name), f"{record['seconds']:.1f}", size, escape(record["file"]))
    console.print(table)


@app.command(epilog="Example: `holdfast runs verify runs/demo`")
def verify(run: Folder, memory: Memory = DEFAULT) -> None:
    """Check every file of a run against its checksum. The exit code is 1 if any is damaged or missing.

    Nothing is repaired: the command that made the run computes such stages again, and only these.
    """
    from rich.markup import escape

    from holdfast.studies.runs import verify_run

    console, states = _console(), verify_run(_opened(run, memory))
    for name, state in states.items():
        if state != "whole":
            console.print(f"[red]{state}[/]  {escape(name)}", highlight=False)
    whole = sum(state == "whole" for state in states.values())
    console.print(f"{whole} of {len(states)} stages are whole")
    if whole < len(states):
        raise typer.Exit(1)


@app.command(epilog="Examples: `holdfast runs gc runs/demo --dry-run`, `holdfast runs gc runs/demo`")
def gc(
    run: Folder,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    memory: Memory = DEFAULT,
) -> None:
    """Remove stage files that the manifest does not name, and halves of interrupted writes."""
    from rich.filesize import decimal
    from rich.markup import escape

    from holdfast.studies.runs import leftovers, remove_leftovers

    found, console = _opened(run, memory), _console()
    files = list(leftovers(found))
    for file in files:
        console.print(escape(str(file)), highlight=False)
    if dry_run:
        size = sum(file.stat().st_size for file in files)
        console.print(f"{len(files)} files, {decimal(size)}, would be removed")
        return
    count, size = remove_leftovers(found)
    busy = f"; {len(files) - count} are in use and stay" if count < len(files) else ""
    console.print(f"{count} files, {decimal(size)}, removed{busy}")


def _opened(path: Path, memory: str) -> "Run":
    from holdfast.machine import hold_to
    from holdfast.studies.runs import open_run

    hold_to(memory)
    return open_run(path)


def _console() -> "Console":
    from rich.console import Console

    return Console()
