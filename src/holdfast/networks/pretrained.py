"""Pretrained networks of torchvision and timm, by name, with their normalisation: ResNet-50 on ImageNet and its like.

Neither library is needed by anything else here, and neither comes with the package. Both download weights to a cache of
their own on first use.
"""

import importlib
from types import ModuleType

from torch import nn

from holdfast.networks.normalise import normalised

LIBRARIES = ("torchvision", "timm")


def load_pretrained(name: str) -> nn.Module:
    """Make a pretrained network that takes images in [0, 1], in evaluation mode.

    Args:
        name: library and model, such as "torchvision/resnet50" or "timm/resnet50". The weights are the library's
            default ones; mean and standard deviation are those they were trained with. Images must have the side they
            were trained with, 224 for most: see `data.read_box_folder`.

    Raises:
        ValueError: another library, or a model that it does not know.
        ImportError: the library is not installed; the message says what to do.
    """
    call = "networks.load_pretrained"
    library, _, model = name.partition("/")
    if library not in LIBRARIES or not model:
        raise ValueError(f"{call}: name must be 'torchvision/<model>' or 'timm/<model>', got {name!r}.")
    make = _torchvision if library == "torchvision" else _timm
    module = _imported(call, library)
    try:
        network, mean, std = make(module, model)
    except (ValueError, KeyError, RuntimeError) as error:  # what the libraries raise for names they do not know
        raise ValueError(f"{call}: {library} could not make {model!r}: {error}") from error
    return normalised(network, list(mean), list(std)).eval()


def _torchvision(torchvision: ModuleType, model: str) -> tuple[nn.Module, list[float], list[float]]:
    weights = torchvision.models.get_model_weights(model).DEFAULT
    preprocess = weights.transforms()
    return torchvision.models.get_model(model, weights=weights), preprocess.mean, preprocess.std


def _timm(timm: ModuleType, model: str) -> tuple[nn.Module, list[float], list[float]]:
    network = timm.create_model(model, pretrained=True)
    settings = timm.data.resolve_model_data_config(network)
    return network, settings["mean"], settings["std"]


def _imported(call: str, library: str) -> ModuleType:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(
            f"{call}: {library} is not installed ({error}); pip install {library}, in the version that fits your "
            "torch, or build the network yourself and give it to Ensemble.from_networks."
        ) from error
