"""Run: the stages of the main job in their order, and the result that the report shows."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from holdfast.attacks import Attacked
from holdfast.data import Dataset, Split, balanced_subset
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import TableCodec, TensorsCodec
from holdfast.studies.main_job.attack import attack
from holdfast.studies.main_job.compare import compare
from holdfast.studies.main_job.diagnose import diagnose
from holdfast.studies.main_job.explain import ROOMS as EXPLAIN_ROOMS
from holdfast.studies.main_job.explain import RULE, explain, mean_maps
from holdfast.studies.main_job.predict import figures, masking_tables, predictions
from holdfast.studies.main_job.settings import ATTACKS, ENSEMBLES, MainJob
from holdfast.studies.main_job.train import train
from holdfast.studies.result import INPUT, Cell, EnsembleSummary, Gallery, Result
from holdfast.studies.run_folder import Artifact, RunFolder
from holdfast.tiles import MEMORY

if TYPE_CHECKING:
    from pandas import DataFrame

Ensembles = Mapping[str, Artifact[Ensemble]]
Attacks = Mapping[tuple[str, str], Artifact[Attacked]]
PRIMARY = ("mean_field", "pgd", "epsilon")  # ensemble, attack and rule of the comparison named before the run


def run(folder: RunFolder, job: MainJob, data: Dataset, *, command: str = "", memory: int = MEMORY) -> Result:
    """Do the main job in a folder; finished stages are reused.

    Args:
        folder: where results are kept.
        job: the settings.
        data: the data set that the settings name.
        command: the shell command that was given, for the report.
        memory: budget in bytes for the work of one moment.

    Returns:
        everything the report says.
    """
    job.check(data)
    folder.describe(command=command, job=job.as_json(), data={"name": data.name, "checksum": data.checksum})
    points = balanced_subset(data.test, job.points, job.seed)
    ensembles = train(folder, job, data)
    attacked = attack(folder, job, points, ensembles, memory)
    table = predictions(folder, points, ensembles, attacked, memory)
    summary = figures(folder, job, data.test, points, ensembles, attacked, memory)
    masking, checks = masking_tables(summary, table)
    scored = explain(folder, job, points, ensembles, attacked, memory)
    comparisons = _comparisons(folder, job, scored)
    ensemble, kind, rule = PRIMARY
    named = {name: attacked[name, kind] for name in ensembles}
    diagnosis = diagnose(folder, job, data.test, points, ensembles, named, rule, memory)
    return Result(
        title="Do the explanations hold under attack?",
        question=_question(job, data),
        command=command,
        settings=_settings(job, data, ensembles),
        versions=folder.manifest["versions"],
        checksums={"data": data.checksum} | {k: v["sha256"] for k, v in folder.manifest["stages"].items()},
        classes=data.classes,
        ensembles=[_summary(name, e.value, summary[name]) for name, e in ensembles.items()],
        predictions=table,
        scores=_concat(scored),
        comparisons=comparisons,
        masking=masking,
        checks=checks,
        gallery=_gallery(folder, job, points, ensembles, attacked, memory),
        primary=Cell(ensemble, kind, job.primary_epsilon, rule),
        diagnosis=diagnosis,
        seconds={k: v["seconds"] for k, v in folder.manifest["stages"].items()},
    )


def _comparisons(folder: RunFolder, job: MainJob, scored: Mapping[str, Artifact["DataFrame"]]) -> "DataFrame":
    settings = {"scores": {name: artifact.key for name, artifact in scored.items()}, "seed": job.seed}
    compute = lambda: compare(_concat(scored), job.seed)
    return folder.stage("comparisons", settings, compute, TableCodec(), ("scores", "studies/main_job")).value


def _gallery(
    folder: RunFolder, job: MainJob, points: Split, ensembles: Ensembles, attacked: Attacks, memory: int
) -> Gallery:
    """The first images of the balanced draw, one per class, attacked as in the headline."""
    _, kind, rule = PRIMARY
    rows = _first_of_each_class(points, job.gallery)
    e = job.budget().epsilons.index(job.primary_epsilon)
    x = points.images[rows]

    def compute() -> tuple[dict[str, Any], dict[str, Any]]:
        tensors = {}
        for name, ensemble in ensembles.items():
            found = attacked[name, kind].value
            target = found.clean_predicted[rows]
            tensors[f"attacked/{name}"] = found.images[e][rows]
            for which, images in (("clean", x), ("attacked", found.images[e][rows])):
                maps = mean_maps(ensemble.value, images, target, rule, memory)[INPUT]
                tensors[f"{which}_maps/{name}"] = maps.sum(1) if maps.ndim == 4 else maps
            tensors[f"clean_predictions/{name}"] = target
            tensors[f"attacked_predictions/{name}"] = found.predicted[e][rows]
        return tensors, {}

    settings = {"attacked": {n: attacked[n, kind].key for n in ensembles}, "rows": rows, "epsilon": job.primary_epsilon}
    tensors, _ = folder.stage("gallery", settings, compute, TensorsCodec(), EXPLAIN_ROOMS).value
    part = lambda kind: {name: tensors[f"{kind}/{name}"] for name in ensembles}
    return Gallery(
        images=x,
        labels=points.labels[rows],
        rows=points.labels.new_tensor(rows),
        chosen_by="The first image of each of the first classes in the random, class-balanced draw of test images.",
        attack=kind,
        epsilon=job.primary_epsilon,
        rule=rule,
        attacked=part("attacked"),
        clean_maps=part("clean_maps"),
        attacked_maps=part("attacked_maps"),
        clean_predictions=part("clean_predictions"),
        attacked_predictions=part("attacked_predictions"),
    )


def _first_of_each_class(points: Split, count: int) -> list[int]:
    first = {}
    for row, label in enumerate(points.labels.tolist()):
        first.setdefault(label, row)
    return [first[label] for label in sorted(first)[:count]]


def _summary(name: str, ensemble: Ensemble, found: Mapping[str, Any]) -> EnsembleSummary:
    parameters = sum(p.numel() for p in ensemble.network.parameters())
    keys = ("clean_accuracy", "nll", "saturation_rate")
    return EnsembleSummary(
        name, ENSEMBLES[name], len(ensemble), parameters, *(found[k] for k in keys), ensemble.diagnostics
    )


def _question(job: MainJob, data: Dataset) -> str:
    return (
        f"After an attack on the predictions of {job.network} networks on {data.name}, do the heatmaps of a "
        "mean-field posterior keep more of their most relevant pixels than those of one deterministic network?"
    )


def _settings(job: MainJob, data: Dataset, ensembles: Ensembles) -> dict[str, Any]:
    return {
        "data": {
            "name": data.name,
            "training images": len(data.train),
            "test images": f"{job.points} of {len(data.test)}, class-balanced, drawn with seed {job.seed}",
        },
        "network": {"name": job.network, "width": job.width, "activation": "leaky ReLU"},
        "inference": {ENSEMBLES[n]: e.value.diagnostics.settings for n, e in ensembles.items()},
        "attacks": ATTACKS | {"pgd": f"{ATTACKS['pgd']}: {_pgd(job)}"},
        "budget": asdict(job.budget()),
        "masking": _masking(job),
        "explanations": "LRP from the logit of the class predicted for the clean image; "
        f"mean over draws; rules: {', '.join(repr(RULE[rule]) for rule in job.rules)}",
        "scores": f"k-LRP: overlap of the {job.k:g} % most relevant pixels; chance from another image's map",
        "statistics": "paired over images: bootstrap intervals, Wilcoxon signed-rank, Holm",
        "k": job.k,
        "seed": job.seed,
    }


def _masking(job: MainJob) -> str:
    if not job.thorough:
        return "checks on all points, without the thorough part"
    return (
        f"checks on all points; worst case, other radii, Square, logit scale, restarts and transfer on "
        f"{min(job.thorough, job.points)} of them, spread evenly, at the largest radius"
    )


def _pgd(job: MainJob) -> str:
    return f"random start, {job.steps} steps of {2.5 / job.steps:.4g} radii, restarts: {job.n_restarts}"


def _concat(tables: Mapping[str, Artifact["DataFrame"]]) -> "DataFrame":
    import pandas

    return pandas.concat([t.value for t in tables.values()], ignore_index=True)
