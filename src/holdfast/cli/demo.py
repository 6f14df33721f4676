"""`holdfast demo`: the main job, end to end, and its report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli.memory import DEFAULT, Memory
from holdfast.studies.main_job.settings import RADII, MainJob

if TYPE_CHECKING:
    from rich.console import Console

    from holdfast.studies.result import Result

EXAMPLES = """
Examples:

`holdfast demo` · embedded Fashion-MNIST, a few minutes on two cores

`holdfast demo --data mnist --data-dir ~/data --run runs/mnist` · the official files

`holdfast demo --network conv --width 64 --epsilon 0.05 --epsilon 0.1` · another network, other radii
"""
D = MainJob
LEGEND = """
Accuracy in % on the attacked images, before and after. k-LRP: share of the
most relevant pixels that stay under PGD; chance: what another image's map
reaches.
Last column: mean difference to the deterministic network, 95 % interval.
"""


def demo(
    data: Annotated[str, typer.Option(help="Data set, see `holdfast data list`.")] = D.data,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the data files.")] = None,
    network: Annotated[str, typer.Option(help="`fc2` or `conv`.")] = D.network,
    width: Annotated[int, typer.Option(help="Units of the hidden layers.")] = D.width,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images, for every method.")] = D.epochs,
    points: Annotated[int, typer.Option(help="Test images to attack and explain.")] = D.points,
    norm: Annotated[str, typer.Option(help="Norm of the budget: `linf` or `l2`.")] = D.norm,
    epsilon: Annotated[
        list[float] | None, typer.Option(help=f"Radius of the budget; repeat for several. Default {RADII}.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of PGD.")] = D.steps,
    restarts: Annotated[int, typer.Option(help="Restarts of PGD.")] = D.n_restarts,
    thorough: Annotated[
        int, typer.Option(help="Images on which the masking report tries all attacks there are; 0: none.")
    ] = D.thorough,
    members: Annotated[int, typer.Option(help="Networks of the deep ensemble.")] = D.members,
    draws: Annotated[int, typer.Option(help="Weight draws of the mean-field posterior.")] = D.draws,
    k: Annotated[float, typer.Option(help="Top-k in percent of the pixels, above 0 and up to 100.")] = D.k,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = D.seed,
    run: Annotated[Path, typer.Option(help="Run folder: results are kept there and reused.")] = Path("runs/demo"),
    memory: Memory = DEFAULT,
) -> None:
    """Train four treatments of one network, attack them, explain them, and write a report.

    A second call with the same settings reuses what is finished; so does a call after an interruption.
    """
    import time

    from rich.console import Console
    from rich.markup import escape

    from holdfast.machine import memory_limit, tune, working_memory

    start = time.perf_counter()
    console = Console()
    memory_limit(memory)  # before any work
    tune()
    from holdfast import report
    from holdfast.data import load
    from holdfast.studies.main_job.run import run as run_main_job
    from holdfast.studies.run_folder import RunFolder

    job = MainJob(
        data=data, network=network, width=width, epochs=epochs, points=points, norm=norm,
        epsilons=tuple(epsilon) if epsilon else None, steps=steps, n_restarts=restarts, thorough=thorough,
        members=members, draws=draws, k=k, seed=seed,
    )  # fmt: skip
    images = load(data, data_dir=data_dir)
    job.check(images)
    folder = RunFolder(run, lambda stage, seconds: _say(console, stage, seconds))
    result = run_main_job(folder, job, images, command=_command(), memory=working_memory(memory))
    page = report.write(result, run)
    console.print(_table(result))
    console.print(LEGEND, style="dim", highlight=False)
    console.print(_masking(result), highlight=False, markup=False)
    reused = f", {len(folder.reused)} stages reused" if folder.reused else ""
    console.print(
        f"{time.perf_counter() - start:.0f} s{reused}. Report: [bold]{escape(str(page))}[/]",
        highlight=False,
        soft_wrap=True,
    )


def _say(console: "Console", stage: str, seconds: float | None) -> None:
    if seconds is not None and seconds >= 1:
        console.print(f"  {stage}  {seconds:.0f} s", style="dim", highlight=False)


def _command() -> str:
    import shlex
    import sys

    return shlex.join(["holdfast", *sys.argv[1:]])


def _masking(result: "Result") -> str:
    """How many checks against masked gradients were passed, and the sentences of those that were not."""
    ran = result.checks[result.checks.passed.notna()]
    failed = ran[~ran.passed.astype(bool)]
    lines = [f"{len(ran) - len(failed)} of {len(ran)} checks against masked gradients passed."]
    return "\n".join(lines + [f"  {c.ensemble}, {c.check}: {c.sentence}" for c in failed.itertuples()])


def _table(result: "Result") -> object:
    from rich.table import Table

    cell = result.primary
    table = Table(
        title=f"{result.settings['data']['name']}, {cell.attack} at {cell.epsilon:g}, LRP {cell.rule}",
        title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="underline",
    )  # fmt: skip
    for column in ("", "clean", "noise", "FGSM", "PGD", "k-LRP", "chance", "vs deterministic"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    at = result.masking[result.masking.epsilon == cell.epsilon].set_index(["ensemble", "attack"]).accuracy
    here = lambda frame: frame[
        (frame.attack == cell.attack) & (frame.epsilon == cell.epsilon)
        & (frame.rule == cell.rule) & (frame.layer == cell.layer)
    ]  # fmt: skip
    scores, differences = here(result.scores).groupby("ensemble"), here(result.comparisons).query("subset == 'all'")
    differences = differences.set_index("ensemble")
    attacked = result.predictions[
        (result.predictions.attack == cell.attack) & (result.predictions.epsilon == cell.epsilon)
    ]
    clean = (attacked.clean_predicted == attacked.label).groupby(attacked.ensemble).mean()  # of the same images
    for e in result.ensembles:
        shares = [clean[e.name], *(at[e.name, kind] for kind in ("random_noise", "fgsm", "pgd"))]
        accuracies = [f"{100 * share:.0f}" for share in shares]
        own, difference = scores.get_group(e.name), ""
        if e.name in differences.index:
            d = differences.loc[e.name]
            difference = f"{d.mean_difference:+.2f} \\[{d.low:+.2f}, {d.high:+.2f}]"
        table.add_row(e.title, *accuracies, f"{own.k_lrp.mean():.2f}", f"{own.chance.mean():.2f}", difference)
    return table
