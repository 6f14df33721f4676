"""pretrained: an ensemble of one network that does not come with the package: a library's, or of the user's weights.

Settings: `model`, as `networks.load_pretrained` calls it, and `weights`, what the library calls those that the network
has by default; or "robust" with the `sha256` of the user's file, see `studies.imagenet`, which is never unpickled.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from holdfast.banks import from_state_dicts
from holdfast.ensemble import Ensemble
from holdfast.networks import load_pretrained
from holdfast.studies.codecs import PretrainedCodec
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.imagenet import checksum, default_weights, robust_weights


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> Ensemble:
    """Load."""
    network = load_pretrained(settings["model"])
    if "sha256" in settings:
        _load_weights(network.network, settings["sha256"], context)
    elif (here := default_weights(settings["model"])) != settings["weights"]:
        raise ValueError(
            f"studies: {settings['model']} has the weights {here} here, but the run was planned with "
            f"{settings['weights']}; install the same torchvision everywhere, or start again."
        )
    network.recipe = PretrainedCodec.recipe(settings["model"])
    return Ensemble.from_networks(network)


def _load_weights(network: nn.Module, sha256: str, context: Context) -> None:
    """Put the user's weights into the network behind the normalisation."""
    file = robust_weights(context.data_dir)
    if file is None or checksum(file) != sha256:
        raise ValueError(
            f"studies: {file or 'no file'} in DATA/imagenet has the robust weights that the run was planned with "
            f"(sha256 {sha256}); put them back, have the same file on every machine, or start again."
        )
    network.load_state_dict({name: stack[0] for name, stack in from_state_dicts([file], network).weights.items()})


KIND = Kind(compute, PretrainedCodec(), ("banks", "networks", "studies/imagenet"))
