"""Train: the four treatments of one network that the main job compares, each an ensemble."""

from collections.abc import Callable

from torch import nn

from holdfast import inference, networks
from holdfast.data import Dataset
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import EnsembleCodec
from holdfast.studies.main_job.settings import ENSEMBLES, MainJob
from holdfast.studies.run_folder import Artifact, RunFolder

ROOMS = ("data", "networks", "inference")


def train(folder: RunFolder, job: MainJob, data: Dataset) -> dict[str, Artifact[Ensemble]]:
    """Train every ensemble of the main job, or read it back."""
    network = networks.build(job.network, data.shape, len(data.classes), width=job.width)
    methods = _methods(job, network, data)
    shared = {"data": data.checksum, "network": job.network, "width": job.width, "seed": job.seed}
    own = {
        "adversarial": {"epsilon": job.training_epsilon, "norm": job.norm},
        "deep_ensemble": {"members": job.members},
        "mean_field": {"draws": job.draws},
    }
    codec = EnsembleCodec(network)
    return {
        name: folder.stage(f"train/{name}", shared | own.get(name, {}), methods[name], codec, ROOMS)
        for name in ENSEMBLES
    }


def _methods(job: MainJob, network: nn.Module, data: Dataset) -> dict[str, Callable[[], Ensemble]]:
    seed, images = job.seed, data.train
    return {
        "deterministic": lambda: inference.sgd(network, images, seed=seed),
        "adversarial": lambda: inference.adversarial(
            network, images, seed=seed, budget=job.budget(job.training_epsilon)
        ),
        "deep_ensemble": lambda: inference.deep_ensemble(network, images, seed=seed + 1, members=job.members),
        "mean_field": lambda: inference.mean_field(network, images, seed=seed, draws=job.draws),
    }
