"""Diagnose: how good each ensemble's predictions are, also under shift, and what its draws can resolve.

The k-LRP of the headline gets its Monte Carlo error too: it is that of the mean heatmaps, under the attack, the radius
and the rule of the comparison that was named before the run.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from holdfast import diagnostics, explanations
from holdfast.attacks import Attacked
from holdfast.data import Split
from holdfast.diagnostics import Diagnosis, Probe
from holdfast.diagnostics.chains import chains_of
from holdfast.diagnostics.findings import differences
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import JsonCodec
from holdfast.studies.main_job.explain import RULE
from holdfast.studies.main_job.settings import MainJob
from holdfast.studies.run_folder import Artifact, RunFolder

ROOMS = ("attacks", "explanations", "scores", "diagnostics", "studies/main_job")
POINTS, IMAGES = 50, 1000  # test images that are explained draw by draw, and that are predicted under each shift
HEADLINE = "headline"


def diagnose(
    folder: RunFolder,
    job: MainJob,
    data: Split,
    points: Split,
    ensembles: Mapping[str, Artifact[Ensemble]],
    attacked: Mapping[str, Artifact[Attacked]],
    rule: str,
    memory: int,
) -> Diagnosis:
    """Diagnose all ensembles, or read it back.

    Args:
        folder: where results are kept.
        job: the settings.
        data: all test images.
        points: those that the main job attacked.
        ensembles: by name, the baseline first.
        attacked: the headline's attack of each ensemble.
        rule: the headline's LRP rule.
        memory: budget in bytes for the work of one moment.
    """
    probe = Probe(job.budget(job.primary_epsilon), k=job.k, seed=job.seed)
    settings = {"ensembles": {name: e.key for name, e in ensembles.items()}, "points": min(job.points, POINTS)}
    settings |= {"images": IMAGES, "probe": probe.as_json(), "seed": job.seed}
    settings |= {"attacked": {name: a.key for name, a in attacked.items()}, "rule": rule}

    def compute() -> dict[str, Any]:
        found = diagnostics.diagnose(
            {name: e.value for name, e in ensembles.items()}, data, points=settings["points"], images=IMAGES,
            probe=probe, seed=job.seed, memory=memory,
        )  # fmt: skip
        held = {n: _headline(job, e.value, points, attacked[n].value, rule, memory) for n, e in ensembles.items()}
        return _with_headline(found, held).as_json()

    return Diagnosis.from_json(folder.stage("diagnosis", settings, compute, JsonCodec(), ROOMS).value)


def _headline(
    job: MainJob, ensemble: Ensemble, points: Split, attacked: Attacked, rule: str, memory: int
) -> tuple[float, float]:
    """Mean k-LRP of the mean heatmaps, and its Monte Carlo error."""
    moved = attacked.images[attacked.epsilons.index(job.primary_epsilon)]
    clean, after = (
        explanations.lrp(ensemble, images, attacked.clean_predicted, rule=RULE[rule], memory=memory)
        for images in (points.images, moved)
    )
    chains = chains_of(ensemble)
    return diagnostics.mean_map_robustness(clean, after, chains, k=job.k, image_axes=points.images.ndim - 1)


def _with_headline(found: Diagnosis, held: Mapping[str, tuple[float, float]]) -> Diagnosis:
    import pandas

    first = next(iter(held))
    of = lambda name: {HEADLINE: held[name]}
    rows = [{"ensemble": n, **row} for name in held for n, row in differences(name, of(name), first, of(first))]
    return replace(found, differences=pandas.concat([pandas.DataFrame(rows), found.differences], ignore_index=True))
