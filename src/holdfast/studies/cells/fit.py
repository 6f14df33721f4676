"""fit: an ensemble, from data or from another ensemble.

Settings: data, train, network (name and arguments), `fit` (function and arguments), seed. In `fit`:

    of            the function is given the ensemble that the cell needs under this name instead of network and data
    initial       the same, but as the point where the fit begins; the network is that ensemble's
    checkpoint    no fit: the network of that name that comes with the package, or the published one
    standardise   the fit sees images of mean 0 and variance 1, which the first layer takes up afterwards
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from holdfast import networks
from holdfast.ensemble import Ensemble
from holdfast.inference.standardised import fit_standardised
from holdfast.studies.codecs import BankCodec
from holdfast.studies.engine.kind import Context, Kind
from holdfast.studies.functions import call
from holdfast.studies.images import dataset_of, training_images


def compute(settings: Mapping[str, Any], needs: Mapping[str, Any], context: Context) -> Ensemble:
    """Fit, or derive."""
    fit = {k: v for k, v in settings["fit"].items() if k not in ("of", "initial", "standardise")}
    if "of" in needs:
        return call(fit, needs["of"], seed=settings["seed"])
    if "checkpoint" in fit:
        return _checkpoint(fit["checkpoint"], context)
    data, train = dataset_of(settings, context), training_images(settings, context)
    if "initial" in needs:
        network = needs["initial"].network
        return call(fit | {"initial": needs["initial"]}, network, train, seed=settings["seed"], memory=context.memory)
    network = _network(settings["network"], data.shape, len(data.classes))
    given = {"seed": settings["seed"], "memory": context.memory, "folder": context.scratch, "processes": 1}
    wanted = settings["fit"].get("standardise", False)
    return fit_standardised("fit", network, train, wanted, lambda inner: call(fit, inner, train, **given))


def _checkpoint(name: str, context: Context) -> Ensemble:
    if name in networks.TRAINED:
        return networks.load_trained(name)
    return Ensemble.from_networks(networks.load_published(name, context.data_dir))


def _network(settings: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    return networks.build(settings["name"], shape, classes, **{k: v for k, v in settings.items() if k != "name"})


KIND = Kind(compute, BankCodec(), ("banks", "data", "networks", "inference"))
