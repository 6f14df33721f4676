"""Attack: every ensemble on the same test images, with every attack and radius of the main job."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from torch import Tensor

from holdfast import attacks
from holdfast.attacks import Attacked, masking_checks
from holdfast.data import Split
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import TensorsCodec
from holdfast.studies.main_job.settings import ATTACKS, MainJob
from holdfast.studies.run_folder import Artifact, RunFolder

ROOMS = ("attacks",)


def attack(
    folder: RunFolder, job: MainJob, points: Split, ensembles: Mapping[str, Artifact[Ensemble]], memory: int
) -> dict[tuple[str, str], Artifact[Attacked]]:
    """The attacked images of every (ensemble, attack), or what was kept of them."""
    found = {}
    for name, ensemble in ensembles.items():
        for kind in ATTACKS:
            own = {"steps": job.steps, "n_restarts": job.n_restarts} if kind == "pgd" else {}
            own |= {} if kind == "fgsm" else {"seed": job.seed}
            settings = {"weights": ensemble.key, "points": job.points, "seed": job.seed, "budget": asdict(job.budget())}
            compute = lambda kind=kind, own=own, ensemble=ensemble: getattr(attacks, kind)(
                ensemble.value, points.images, points.labels, budget=job.budget(), memory=memory, **own
            )
            stage = folder.stage(f"attack/{name}/{kind}", settings | own, compute, AttackedCodec(), ROOMS)
            found[name, kind] = stage
    return found


class AttackedCodec:
    """An `Attacked` as safetensors: its tensors by their names, the rest as JSON."""

    suffix = ".safetensors"

    def write(self, file: Any, value: Attacked) -> None:
        """Write attacked images and what was reached."""
        parts = {f.name: getattr(value, f.name) for f in fields(value)}
        tensors = {k: v for k, v in parts.items() if isinstance(v, Tensor)}
        facts = {k: v for k, v in parts.items() if k not in tensors} | {"masking": dict(value.masking.figures)}
        TensorsCodec().write(file, (tensors, facts))

    def read(self, file: Any) -> Attacked:
        """Read them."""
        tensors, facts = TensorsCodec().read(file)
        checks = masking_checks.of(facts["masking"])
        return Attacked(**tensors, **facts | {"epsilons": tuple(facts["epsilons"]), "masking": checks})
