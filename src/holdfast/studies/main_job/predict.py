"""Predict: what the attacks did to the decisions, and whether the attacks can be believed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from holdfast import scores
from holdfast.attacks import Attacked, masking_report
from holdfast.data import Split
from holdfast.ensemble import Ensemble, log_predictive
from holdfast.studies.codecs import JsonCodec, TableCodec
from holdfast.studies.main_job.settings import MainJob
from holdfast.studies.result import CLEAN
from holdfast.studies.run_folder import Artifact, RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame

Ensembles = Mapping[str, Artifact[Ensemble]]
Attacks = Mapping[tuple[str, str], Artifact[Attacked]]
JUDGED = {"random_noise": "random_noise", "one_step": "fgsm", "many_steps": "pgd"}  # the checks' names: ours
THOROUGH = ("worst_case", "radius", "black_box", "logit_scale", "restarts", "transfer")
NOT_RUN = "left out by the settings (thorough = 0)."
QUERIES = 500  # of Square in the thorough part
ROOMS = ("attacks", "scores", "studies/main_job")


def predictions(folder: RunFolder, points: Split, ensembles: Ensembles, attacked: Attacks, memory: int) -> "DataFrame":
    """One row per ensemble, attack, radius and image: decisions, sizes reached, softmax robustness."""
    import pandas

    tables = []
    for (name, kind), artifact in attacked.items():
        ensemble = ensembles[name].value
        compute = lambda name=name, kind=kind, ensemble=ensemble, artifact=artifact: _predictions(
            name, kind, ensemble, points, artifact.value, memory
        )
        stage = folder.stage(f"predictions/{name}-{kind}", {"attacked": artifact.key}, compute, TableCodec(), ROOMS)
        tables.append(stage.value)
    return pandas.concat(tables, ignore_index=True)


def figures(
    folder: RunFolder,
    job: MainJob,
    data: Split,
    points: Split,
    ensembles: Ensembles,
    attacked: Attacks,
    memory: int,
) -> dict[str, dict[str, Any]]:
    """Per ensemble: accuracy and nll on all test images, saturation, zero gradients, the checks against masking."""
    found = {}
    for name, ensemble in ensembles.items():
        own = {new: attacked[name, kind] for new, kind in JUDGED.items()}
        settings = {"attacked": {new: artifact.key for new, artifact in own.items()}, "thorough": job.thorough}
        others = {other: e.value for other, e in ensembles.items() if other != name}
        if job.thorough:
            settings |= {"others": {other: ensembles[other].key for other in others}, "seed": job.seed}
        compute = lambda ensemble=ensemble, own=own, others=others: _figures(
            job, ensemble.value, others, data, points, {n: artifact.value for n, artifact in own.items()}, memory
        )
        found[name] = folder.stage(f"masking/{name}", settings, compute, JsonCodec(), ROOMS).value
    return found


def masking_tables(figures: Mapping[str, Mapping[str, Any]], table: "DataFrame") -> tuple["DataFrame", "DataFrame"]:
    """The `masking` and `checks` tables of a `Result`."""
    import pandas

    masking, checks = [], []
    for name, own in figures.items():
        rates = {"zero_gradient_rate": own["zero_gradient_rate"], "saturation_rate": own["saturation_rate"]}
        masking.append({"ensemble": name, "attack": CLEAN, "epsilon": 0.0, "accuracy": own["clean_accuracy"], **rates})
        checks += [{"ensemble": name, **check} for check in own["checks"]]
    right = table.assign(accuracy=table.predicted == table.label)
    for (name, kind, epsilon), cell in right.groupby(["ensemble", "attack", "epsilon"], sort=False):
        rates = {"zero_gradient_rate": float("nan"), "saturation_rate": cell.saturated.mean()}
        masking.append(
            {"ensemble": name, "attack": kind, "epsilon": epsilon, "accuracy": cell.accuracy.mean(), **rates}
        )
    return pandas.DataFrame(masking), pandas.DataFrame(checks)


def _predictions(
    name: str, kind: str, ensemble: Ensemble, points: Split, attacked: Attacked, memory: int
) -> "DataFrame":
    import pandas

    clean = ensemble.log_predictive(points.images, memory=memory)
    frames = []
    for e, epsilon in enumerate(attacked.epsilons):
        logits = ensemble.logits(attacked.images[e], memory=memory)
        moved = log_predictive(logits)
        frames.append(
            pandas.DataFrame(
                {
                    "ensemble": name,
                    "attack": kind,
                    "epsilon": epsilon,
                    "image": range(len(points)),
                    "label": points.labels,
                    "clean_predicted": attacked.clean_predicted,
                    "predicted": attacked.predicted[e],
                    "label_preserved": attacked.label_kept[e],
                    "size_linf": attacked.size_linf[e],
                    "size_l2": attacked.size_l2[e],
                    "softmax_robustness": scores.softmax_robustness(clean, moved),
                    "saturated": (logits.softmax(-1).amax(-1) == 1).double().mean(0),
                }
            )
        )
    return pandas.concat(frames, ignore_index=True)


def _figures(
    job: MainJob,
    ensemble: Ensemble,
    others: Mapping[str, Ensemble],
    data: Split,
    points: Split,
    attacked: Mapping[str, Attacked],
    memory: int,
) -> dict[str, Any]:
    log_p = ensemble.log_predictive(data.images, memory=memory)
    thorough = bool(job.thorough)
    report = masking_report(
        ensemble, points.images, points.labels, budget=job.budget(), attacked=attacked, thorough=thorough,
        thorough_images=min(job.thorough, len(points)) or None, others=others if thorough else None, steps=job.steps,
        queries=QUERIES, seed=job.seed, memory=memory,
    )  # fmt: skip
    checks = [{"check": c.name, "passed": c.passed, "sentence": c.sentence} for c in report.checks]
    checks += [{"check": name, "passed": None, "sentence": NOT_RUN} for name in THOROUGH if not thorough]
    return {
        "clean_accuracy": (log_p.argmax(-1) == data.labels).double().mean().item(),
        "nll": -log_p.gather(-1, data.labels[:, None]).double().mean().item(),
        "saturation_rate": report.figures["saturation_rate"],
        "zero_gradient_rate": report.figures["zero_gradient_rate"],
        "checks": checks,
        "figures": dict(report.figures),
    }
