"""Diagnose: how good each ensemble's predictions are, also under shift, and what its draws can resolve."""

from collections.abc import Mapping

from holdfast import diagnostics
from holdfast.data import Split
from holdfast.diagnostics import Diagnosis, Probe
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import JsonCodec
from holdfast.studies.main_job.settings import MainJob
from holdfast.studies.run_folder import Artifact, RunFolder

ROOMS = ("attacks", "explanations", "scores", "diagnostics", "studies/main_job")
POINTS, IMAGES = 50, 1000  # test images that are explained, and that are predicted under each shift


def diagnose(
    folder: RunFolder, job: MainJob, data: Split, ensembles: Mapping[str, Artifact[Ensemble]], memory: int
) -> Diagnosis:
    """Diagnose all ensembles on the test images `data`, or read it back."""
    probe = Probe(job.budget(job.primary_epsilon), k=job.k, seed=job.seed)
    settings = {"ensembles": {name: e.key for name, e in ensembles.items()}, "points": min(job.points, POINTS)}
    settings |= {"images": IMAGES, "probe": probe.as_json(), "seed": job.seed}

    def compute() -> dict:
        found = diagnostics.diagnose(
            {name: e.value for name, e in ensembles.items()}, data, points=settings["points"], images=IMAGES,
            probe=probe, seed=job.seed, memory=memory,
        )  # fmt: skip
        return found.as_json()

    return Diagnosis.from_json(folder.stage("diagnosis", settings, compute, JsonCodec(), ROOMS).value)
