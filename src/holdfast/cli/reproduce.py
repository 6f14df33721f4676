"""`holdfast reproduce`: the papers' figures as published and as corrected, and a verdict for each claim."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.memory import DEFAULT, Memory

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.studies.engine import Outcome
    from holdfast.studies.reproduce.run import Reproduction

EXAMPLES = """
Examples:

`holdfast reproduce` · the papers, their figures, their claims

`holdfast reproduce BE-F3 --scale smoke` · one figure, both ways, in a minute

`holdfast reproduce BE-F3 GA-T1 --scale laptop --data-dir ~/data --jobs 2` · two figures on the data files in a folder

`holdfast reproduce all --scale smoke` · everything

`holdfast reproduce all --scale laptop --finished` · the page of what a run has finished so far

`holdfast reproduce all --scale laptop --keep docs/results --add` · only what the kept results lack, into them

`holdfast reproduce all --scale paper --cluster tcp://head:8786` · on the workers of a Dask cluster

`holdfast reproduce all --scale paper --slurm partition=gpu,gpus_per_node=1 --jobs 20` · in an array of SLURM jobs
"""
MARKS = {"holds": "green", "holds weaker": "yellow", "does not hold": "red", "untestable": "dim"}


def reproduce(
    figures: Annotated[
        list[str] | None, typer.Argument(help="Studies such as BE-F3, or `all`; none: list them.")
    ] = None,
    panel: Annotated[
        list[str] | None, typer.Option(help="Only the panels with this title, such as `MNIST`; repeat for several.")
    ] = None,
    preset: Annotated[str, typer.Option(help="`published`, `corrected`, or `both`.")] = "both",
    scale: Annotated[str, typer.Option(help="`smoke`, `laptop` or `paper`.")] = "smoke",
    jobs: Annotated[int, typer.Option(help="Processes at work; -1 for one per core.")] = -1,
    cluster: Annotated[
        str | None, typer.Option(help="Scheduler of a Dask cluster whose workers compute, such as `tcp://host:8786`.")
    ] = None,
    slurm: Annotated[
        str | None,
        typer.Option(
            help="Compute in an array of `--jobs` SLURM jobs, with settings such as `partition=gpu,time=240`."
        ),
    ] = None,
    memory: Memory = DEFAULT,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the data files; with `imagenet` in it, as in the README, the panels `ImageNet` run."
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Run folder: results are kept there and reused; also `s3://...` or `gs://...`. "
            "Default runs/reproduce-SCALE."
        ),
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="Compute nothing: judge and show the panels that are finished.")
    ] = False,
    keep: Annotated[
        Path | None,
        typer.Option(help="Write verdicts, small tables and figures to KEEP/SCALE, as in docs/results."),
    ] = None,
    add: Annotated[
        bool,
        typer.Option(
            "--add",
            help="Compute only panels that KEEP/SCALE lacks, add them, and judge the claims by all of it.",
        ),
    ] = False,
) -> None:
    """Run figures of the papers as published and as corrected, and judge the papers' claims.

    A call with the same settings reuses what is finished; so does a call after an interruption.
    """
    import time
    from contextlib import ExitStack

    from rich.console import Console
    from rich.markup import escape

    console = Console()
    if not figures:
        _list(console)
        return
    from joblib import cpu_count

    from holdfast import report
    from holdfast.cli.chosen_studies import chosen_studies, finished_studies, no_outdated, to_add
    from holdfast.machine import memory_limit, working_memory
    from holdfast.studies.engine import Context, Store
    from holdfast.studies.engine.machines import dask_workers, slurm_workers
    from holdfast.studies.reproduce.kept import read_kept
    from holdfast.studies.reproduce.plan import plan
    from holdfast.studies.reproduce.rules import PRESETS
    from holdfast.studies.reproduce.run import reproduce as run_studies

    _refuse(preset not in (*PRESETS, "both"), f"--preset must be published, corrected or both, got {preset!r}.")
    _refuse(slurm and cluster, "give --cluster or --slurm, not both.")
    _refuse(add and keep is None, "--add needs --keep: the results to add to, such as --keep docs/results.")
    _refuse(add and preset != "both", f"--add needs both presets, for claims rest on both; got --preset {preset}.")
    _refuse(keep and (keep / scale).exists() and not (keep / scale).is_dir(), f"--keep: {keep}/{scale} is a file.")
    memory_limit(memory)  # before any work
    chosen = chosen_studies(figures, panel)
    presets = PRESETS if preset == "both" else (preset,)
    processes = 1 if slurm or cluster else cpu_count() if jobs == -1 else jobs
    elsewhere = slurm or cluster  # where each machine has its own memory
    limits = {"share": memory} if elsewhere else {"memory": working_memory(memory, processes)}
    data_dir = data_dir and data_dir.absolute()  # workers may have been started in other folders
    store = Store.at(run or f"runs/reproduce-{scale}", Context(data_dir=data_dir, **limits))
    kept, told = read_kept(keep / scale, scale) if keep and add else None, ""
    if add and keep:
        chosen, told = to_add(kept, keep / scale, chosen, scale, data_dir)
    if finished and chosen:
        chosen = finished_studies(chosen, store, scale, presets, " that the kept results lack" if kept else "")
    if kept:
        no_outdated(kept.without(chosen), scale, data_dir)
    console.print(escape(told), end="", highlight=False)
    start = time.perf_counter()
    with ExitStack() as stack:
        if slurm and chosen:
            cells = [cell for part in plan(chosen, scale, presets, data_dir=data_dir) for cell in part.cells]
            slurm_workers(store, cells, count=max(1, jobs), settings=_slurm(slurm))
        elif cluster:
            stack.enter_context(dask_workers(cluster))
        progress = stack.enter_context(_Progress(console))
        found = run_studies(
            chosen, store, scale=scale, presets=presets, jobs=processes, kept=kept, report=progress.report
        )
    _tell(console, found)
    page = report.write_verdicts(found, store.path, jobs=processes)
    store.publish()
    if keep is not None:
        console.print(f"Tables and figures: [bold]{escape(str(report.keep_results(found, keep)))}[/]", highlight=False)
    place = store.bucket or str(store.path)
    reused = f", {progress.reused} of {progress.total} cells reused" if progress.reused else f", {progress.total} cells"
    console.print(f"{time.perf_counter() - start:.0f} s{reused}. Kept in [bold]{escape(place)}[/].")
    console.print(f"The verdicts, and every figure: [bold]{escape(str(page))}[/]", highlight=False)
    if progress.failed:
        raise ValueError(f"reproduce: {progress.failed} cells failed; what did not need them is kept.")


def _refuse(given: object, reason: str) -> None:
    """Stop where options make no sense, alone or together."""
    if given:
        raise ValueError(f"reproduce: {reason}")


def _slurm(given: str) -> dict[str, str | int]:
    """What submitit takes, from `partition=gpu,time=240`: `time` is in minutes, the rest are SLURM's own settings."""
    settings: dict[str, str | int] = {}
    for pair in given.split(","):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip().isidentifier() or not value.strip():
            raise ValueError(f"reproduce: --slurm takes settings such as 'partition=gpu,time=240', got {pair!r}.")
        number = value.strip()
        key = "timeout_min" if name.strip() == "time" else f"slurm_{name.strip()}"
        settings[key] = int(number) if number.isdigit() else number
    return settings


class _Progress:
    """A bar with the cells that are left, and a line for what takes long or fails."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console, transient=True)
        self.task = self.bar.add_task("cells", total=None)
        self.reused = self.failed = self.total = 0

    def __enter__(self) -> "_Progress":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def report(self, outcome: "Outcome", done: int, total: int) -> None:
        from rich.markup import escape

        self.total = total
        self.reused += outcome.state == "reused"
        self.bar.update(self.task, completed=done, total=total, description=outcome.cell.kind)
        if outcome.state == "computed" and outcome.seconds >= 5:
            self.bar.console.print(f"  {outcome.cell.name}  {outcome.seconds:.0f} s", style="dim", highlight=False)
        if outcome.state == "failed":
            self.failed += 1
            self.bar.console.print(f"[red]failed[/] {outcome.cell.name}: {escape(outcome.message)}", highlight=False)


def _list(console: "Console") -> None:
    from rich.table import Table

    from holdfast.studies.reproduce.claim import claims
    from holdfast.studies.reproduce.study import PAPERS, studies, without_study

    for paper, title in PAPERS.items():
        own = [s for s in studies().values() if s.paper == paper]
        if not own:
            continue
        table = Table(
            title=f"{paper}: {title}", title_justify="left", box=None, padding=(0, 2, 0, 0), show_header=False
        )
        for study in own:
            table.add_row(f"[bold]{study.id}[/]", study.figure, study.title)
        for none in without_study().values():
            if none.paper == paper:
                table.add_row(f"[dim]{none.id}[/]", none.figure, f"{none.title}. [dim]Not run: {none.why}[/]")
        for claim in claims().values():
            if claim.paper == paper:
                table.add_row(f"[cyan]{claim.id}[/]", "claim", claim.statement)
        console.print(table)
        console.print()
    console.print(
        "`holdfast reproduce BE-F3` runs one, `holdfast reproduce all` all; `--help` shows more.", style="dim"
    )


def _tell(console: "Console", found: "Reproduction") -> None:
    from rich.markup import escape
    from rich.table import Table

    for reason in dict.fromkeys(found.missing.values()):
        names = [" ".join(name) for name, why in found.missing.items() if why == reason]
        console.print(f"[yellow]{escape(', '.join(names))}[/]: {escape(reason)}", highlight=False)
    if found.retried:
        console.print(f"Begun again, because the process that computed them was lost: {', '.join(found.retried)}")
    table = Table(title=f"Claims, at the scale {found.scale!r}", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for column in ("claim", "paper", "as published", "corrected", "verdict"):
        table.add_column(column, header_style="underline", overflow="fold")
    for judgement in found.judgements:
        first = next((f for f in judgement.findings if f.corrected or f.published), None)
        numbers = ["", "", ""]
        if first is not None:
            paper = first.evidence.paper
            numbers = ["" if paper is None else f"{paper:+.2f}", *map(_number, (first.published, first.corrected))]
        said = f"[{MARKS[judgement.verdict]}]{judgement.verdict}[/] [dim]{escape(judgement.why)}[/]"
        table.add_row(f"[bold]{judgement.claim.id}[/]", *numbers, said)
    console.print(table)
    console.print("The first number of each claim, with its 95 % interval; the page has them all.", style="dim")


def _number(estimate: object) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:+.2f} \\[{estimate.low:+.2f}, {estimate.high:+.2f}]"
