"""Train: the four treatments of one network that the main job compares, each an ensemble."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from holdfast import inference, networks
from holdfast.data import Dataset
from holdfast.ensemble import Ensemble
from holdfast.studies.codecs import EnsembleCodec
from holdfast.studies.main_job.settings import ENSEMBLES, MainJob
from holdfast.studies.run_folder import Artifact, RunFolder

ROOMS = ("data", "networks", "inference")
FUNCTIONS = {"deterministic": "sgd"}  # of the room `inference`, where the name differs


def train(folder: RunFolder, job: MainJob, data: Dataset) -> dict[str, Artifact[Ensemble]]:
    """Train every ensemble of the main job, or read it back."""
    network = networks.build(job.network, data.shape, len(data.classes), width=job.width)
    methods = _methods(job, network, data)
    shared = {"data": data.checksum, "network": job.network, "width": job.width, "seed": job.seed, "epochs": job.epochs}
    own = {
        "adversarial": {"epsilon": job.training_epsilon, "norm": job.norm},
        "deep_ensemble": {"members": job.members},
        "mean_field": {"draws": job.draws},
    }
    codec = EnsembleCodec(network, {"name": data.name, "checksum": data.checksum})
    return {
        name: folder.stage(f"train/{name}", shared | own.get(name, {}), methods[name], codec, ROOMS)
        for name in ENSEMBLES
    }


def _methods(job: MainJob, network: nn.Module, data: Dataset) -> dict[str, Callable[[], Ensemble]]:
    settings = {
        "deterministic": {},
        "adversarial": {"budget": job.budget(job.training_epsilon)},
        "deep_ensemble": {"members": job.members},
        "mean_field": {"draws": job.draws},
    }
    functions = {name: getattr(inference, FUNCTIONS.get(name, name)) for name in settings}
    if job.epochs is not None:
        for name, own in settings.items():
            default = inspect.signature(functions[name]).parameters["training"].default
            if default is None:  # the method chooses by the number of steps
                default = inference.mean_field_training(len(data.train), epochs=job.epochs)
            own["training"] = replace(default, epochs=job.epochs)
    return {name: partial(functions[name], network, data.train, seed=job.seed, **own) for name, own in settings.items()}
