"""Fits: the cell that trains a treatment of a network, for one training seed."""

from typing import Any

from holdfast.studies import imagenet
from holdfast.studies.engine import Cell
from holdfast.studies.reproduce.rules import Settled


def fit(settled: Settled, study: str, data: str, network: str, treatment: str, seed: int) -> Cell:
    """The cell of one treatment, and of the one that it is derived from where there is one.

    Raises:
        ValueError: the treatment has no meaning under this preset, or its network is the user's to have.
    """
    labels = {"study": study, "data": data, "network": network, "treatment": treatment}
    meaning = {k: v for k, v in settled.of("fit", **labels).items() if k != "single"}
    if "pretrained" in meaning:
        own = meaning.get("own_weights", False)
        return Cell("pretrained", imagenet.network(settled.data_dir, meaning["pretrained"], own))
    if "function" not in meaning and "checkpoint" not in meaning:
        raise ValueError(f"reproduce: the preset {settled.name!r} does not say what the treatment {treatment!r} is.")
    train = meaning.pop("train", settled.scale.train)
    problem = {"data": settled.data(data), "train": train, "fit": meaning, "seed": seed}
    for role in ("of", "initial"):
        if role in meaning:
            return Cell("fit", problem, {role: fit(settled, study, data, network, meaning[role], seed)})
    return Cell("fit", problem | architecture(settled, study, data, network))


def skipped(settled: Settled, **labels: str) -> str:
    """Why a treatment is left out under this preset and scale; empty where it is not."""
    meaning = settled.of("fit", **labels)
    if meaning.get("own_weights") and imagenet.robust_weights(settled.data_dir) is None:
        return "the user has no weights for it"
    return meaning.get("skip", "")


def is_single(settled: Settled, **labels: str) -> bool:
    """Whether a treatment is one network, whatever number of draws is asked for."""
    return bool(settled.of("fit", **labels).get("single", False))


def size(settled: Settled, **labels: str) -> int | None:
    """How many networks the ensemble of a treatment has; None where that is left to the method.

    >>> size(Settled("corrected", "laptop"), study="BE-F3", data="mnist", network="fc2", treatment="hmc")
    20
    """
    meaning = settled.of("fit", **labels)
    if meaning.get("single"):
        return 1
    alone = next((meaning[name] for name in ("members", "copies") if name in meaning), None)
    chained = {**meaning.get("plan", {}), **meaning}
    return alone or (chained["draws"] * chained.get("chains", 1) if "draws" in chained else None)


def is_derived(settled: Settled, **labels: str) -> bool:
    """Whether a treatment is made of another one, without a fit of its own."""
    return "of" in settled.of("fit", **labels)


def architecture(settled: Settled, study: str, data: str, network: str) -> dict[str, Any]:
    """The settings of the network."""
    found = settled.of("network", study=study, data=data, network=network)
    return {"network": {"name": network, **found}}
