"""`holdfast diagnose`: how far banks of draws are from mixed, how they predict, which differences they resolve."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.diagnose_files import check_files, write_files
from holdfast.cli.memory import DEFAULT, Memory

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table

    from holdfast.diagnostics import Diagnosis
    from holdfast.ensemble import Ensemble

EXAMPLES = """
Examples:

`holdfast diagnose hmc.safetensors --data mnist` · one bank on the official test images

`holdfast diagnose hmc.safetensors vi.safetensors --data mnist --reference hmc` · side by side, held against the first

`holdfast diagnose runs/chains --data fashion-mnist --json found.json --figures out` · a folder of chains; files kept

`holdfast diagnose hmc.safetensors --data mnist --export draws` · also predictions for ArviZ, as netCDF
"""
LEGEND = """
R-hat, ESS, MCSE: what 50, 90 and 99 % of the functions stay below (ESS: reach).
± is the Monte Carlo error, of having few draws: not of few images, nor of
training once. A difference below two of them is not resolved.
"""
SHORT = {
    "true_class_log_probability": "log p(true class)",
    "class_probability": "class probability",
    "relevance": "relevance, pixels",
    "top_k_overlap": "top-k overlap",
    "robustness": "robustness",
    "weights": "weights, for info",
}
SAMPLER = (  # figures of the table, and their digits
    ("acceptance", 2),
    ("rms_energy_error", 2),
    ("divergences", 0),
    ("e_bfmi", 2),
    ("step_size", 4),
    ("trajectory", 2),
    ("leapfrog_steps", 0),
    ("gradients", 0),
)
QUANTITIES = {"mean_map_robustness": "robustness, mean map", "robustness": "robustness, a draw's"}


def diagnose(
    banks: Annotated[
        list[Path], typer.Argument(metavar="BANK...", help="Files of draws, or folders with one file per chain.")
    ],
    data: Annotated[str, typer.Option(help="Data set whose test images to use, see `holdfast data list`.")],
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the data files.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="Name of one of the banks, or another bank, to hold predictions against.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Architecture, where a bank does not say it: `fc2`, `conv`, ...")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Units of its hidden layers.")] = None,
    points: Annotated[int, typer.Option(help="Test images to attack and explain.")] = 50,
    images: Annotated[int, typer.Option(help="Test images on which predictions are judged.")] = 1000,
    norm: Annotated[str, typer.Option(help="Norm of the attack: `linf` or `l2`.")] = "linf",
    epsilon: Annotated[float, typer.Option(help="Radius of the attack.")] = 0.1,
    k: Annotated[float, typer.Option(help="Top-k in percent of the pixels, above 0 and up to 100.")] = 20.0,
    seed: Annotated[int, typer.Option(help="Seed of every random choice.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write everything to this file.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Draw R-hats into this folder, as SVG and PNG.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write predictions into this folder, for ArviZ.")] = None,
    memory: Memory = DEFAULT,
) -> None:
    """Diagnose posteriors in function space: do their chains agree on what the networks compute?

    The verdict is *mixed in function space* (90 % of the R-hats below 1.05 and 99 % below 1.2), *partly mixed* (90 %
    below 1.2; both with 100 effective draws or more), or *ensemble of K local chains*. Draws without chains are
    *independent draws*: no R-hat, the same tables.
    """
    from rich.console import Console
    from rich.markup import escape

    from holdfast.machine import memory_limit, tune, working_memory

    memory_limit(memory)  # before any work
    tune()
    from holdfast.budget import Budget
    from holdfast.data import load
    from holdfast.diagnostics import Probe
    from holdfast.diagnostics import diagnose as run

    console = Console()
    check_files(json, figures, export)
    dataset = load(data, data_dir=data_dir)
    build = None if network is None else {"name": network} | ({} if width is None else {"width": width})
    ensembles = {name: _read(bank, dataset, build) for name, bank in _named(banks).items()}
    held: Ensemble | str | None = reference
    if reference is not None and reference not in ensembles:
        held = _read(Path(reference), dataset, build)
    found = run(
        ensembles, dataset.test, reference=held, points=points, images=images, seed=seed,
        probe=Probe(Budget(norm, epsilon), k=k, seed=seed), memory=working_memory(memory),
    )  # fmt: skip
    for part in _tables(found):
        console.print(part)
    console.print(LEGEND, style="dim", highlight=False)
    for note in found.notes:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False)
    for file in write_files(found, ensembles, dataset.test, json, figures, export, points):
        console.print(f"written: [bold]{escape(str(file))}[/]", highlight=False, soft_wrap=True)


def _named(paths: list[Path]) -> dict[str, Path]:
    """A name for every bank: that of its file or folder, with the folder above where two are called alike."""
    names = [p.stem if p.suffix == ".safetensors" else p.name or str(p) for p in paths]
    names = [f"{p.resolve().parent.name}/{n}" if names.count(n) > 1 else n for p, n in zip(paths, names, strict=True)]
    if len(set(names)) < len(names):
        raise ValueError(f"diagnose: the same bank is given twice: {', '.join(map(str, paths))}.")
    return dict(zip(names, paths, strict=True))


def _read(path: Path, dataset: Any, build: dict[str, Any] | None) -> "Ensemble":
    from holdfast import networks
    from holdfast.banks import Bank

    manifest = Bank.open(path).manifest
    recipe = manifest.get("architecture", {}).get("recipe")
    if recipe is not None:
        made = networks.rebuild(recipe)
    elif build is not None:
        settings = {k: v for k, v in build.items() if k != "name"}
        made = networks.build(build["name"], dataset.shape, len(dataset.classes), **settings)
    else:
        raise ValueError(
            f"diagnose: {path} does not say which network it belongs to; pass --network, and --width if not 512."
        )
    _check_data(path, manifest, dataset)
    return Bank.open(path, made).ensemble()


def _check_data(path: Path, manifest: Any, dataset: Any) -> None:
    """Warn where the draws were inferred from other data than those they are tested on."""
    import warnings

    trained = manifest.get("data") or {}
    if trained.get("checksum") not in (None, dataset.checksum):
        warnings.warn(
            f"{path} was inferred from {trained.get('name', 'other data')}, not from {dataset.name} as it is here.",
            stacklevel=2,
        )


def _tables(found: "Diagnosis") -> "list[Table]":
    from holdfast.diagnostics.mixing import ONE
    from holdfast.report.wording import resolution

    three = lambda row, name, digits: " ".join(_number(row[f"{name}_{q}"], digits) for q in (50, 90, 99))
    verdicts = _table("Verdicts", "", "method", "verdict", "draws", "distinct", "chains")
    names = ("acceptance", "rms ΔH", "diverged", "E-BFMI", "step", "length", "leapfrogs", "gradients")
    samplers = _table("Trajectories", "", *names)
    for row in found.samplers.to_dict("records"):
        counts = [_number(row[n], 0) for n in ("draws", "distinct", "chains")]
        verdicts.add_row(row["ensemble"], str(row["method"]), found.verdicts[row["ensemble"]], *counts)
        figures = [_number(row[name], digits) for name, digits in SAMPLER]
        if set(figures) != {"–"}:
            samplers.add_row(row["ensemble"], *figures)
    functions = _table("Functions, at 50, 90 and 99 %", "", "of each draw", "varying", "R-hat", "ESS", "MCSE")
    several = [name for name, word in found.verdicts.items() if word != ONE]
    for row in _once(found.functions[found.functions.ensemble.isin(several)]):
        varying = f"{row['functions'] - row['constant']:,}"
        functions.add_row(
            row["shown"], SHORT[row["functions_of"]], varying, three(row, "rhat", 2), three(row, "ess", 0),
            three(row, "mcse", 4),
        )  # fmt: skip
    predictions = _table("Predictions", "", "images", "accuracy %", "NLL", "Brier", "ECE", "entropy")
    for row in _once(found.predictions):
        nll, brier, entropy = (_with_error(row[n], row[f"{n}_mcse"]) for n in ("nll", "brier", "entropy"))
        accuracy, ece = _number(100 * row["accuracy"], 1), _number(row["ece"], 3)
        predictions.add_row(row["shown"], row["shift"], accuracy, nll, brier, ece, entropy)
    agreement = _table("Agreement", "", "with", "same class %", "worst", "total variation", "worst")
    for row in found.agreement.dropna(subset="agreement").to_dict("records"):
        shares = [_number(100 * row[n], 1) for n in ("agreement", "agreement_worst")]
        distances = [_number(row[n], 4) for n in ("total_variation", "total_variation_worst")]
        agreement.add_row(row["ensemble"], row["with"], *shares, *distances)
    differences = _table("Differences", "", "minus", "of", "difference", "MCSE", "")
    for row in found.differences.to_dict("records"):
        if row["ensemble"] != row["minus"]:
            word = resolution(row)
            figures = [_number(row["difference"], 4), _number(row["difference_mcse"], 4)]
            quantity = QUANTITIES.get(row["quantity"], row["quantity"])
            differences.add_row(row["ensemble"], row["minus"], quantity, *figures, word)
    return [t for t in (verdicts, samplers, functions, predictions, agreement, differences) if t.row_count]


def _once(frame: "DataFrame") -> list[dict[str, Any]]:
    """Rows with the ensemble's name in the first of each group only."""
    rows, last = frame.to_dict("records"), None
    for row in rows:
        row["shown"] = row["ensemble"] if row["ensemble"] != last else ""
        last = row["ensemble"]
    return rows


def _table(title: str, *columns: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), header_style="underline")
    words = ("", "method", "verdict", "of each draw", "images", "with", "minus", "of")
    for column in columns:
        table.add_column(column, justify="left" if column in words else "right", no_wrap=column not in words)
    return table


def _with_error(value: float, error: float) -> str:
    return _number(value, 3) if error == 0 else f"{_number(value, 3)} ±{_number(error, 3)}"


def _number(value: float, digits: int) -> str:
    from holdfast.report.wording import DASH, number

    if value == float("inf"):
        return "∞"
    text = number(value, digits)
    return text if digits or text == DASH else f"{round(value):,}"
