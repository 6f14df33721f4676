"""In parts: a long attack as a row of short ones, each kept on disk; an interrupted run goes on where it was."""

import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from holdfast import __version__
from holdfast.attacks import masking_checks
from holdfast.attacks.attacked import Attacked
from holdfast.attacks.identity import architecture_of, digest, text_of
from holdfast.attacks.search import check_ensemble
from holdfast.attacks.signs import by_stage, merged
from holdfast.checks import check_count, check_images, check_labels
from holdfast.ensemble import Ensemble
from holdfast.progress import track

TENSORS = tuple(f.name for f in fields(Attacked) if f.name not in ("name", "epsilons", "settings", "masking"))


def in_parts(
    attack: Callable[..., Attacked],
    ensemble: Ensemble,
    x: Tensor,
    y: Tensor,
    *,
    folder: str | os.PathLike,
    images_per_part: int = 250,
    **settings: Any,
) -> Attacked:
    """Run an attack part by part; parts that `folder` already holds are read and not run again.

    A part is found again only under the same network, weights, images, labels, attack, settings and version; of
    functions and layers of your own their code counts, not the name alone. A damaged file is computed anew, with a
    warning. Every part uses the same seed, so the result depends on `images_per_part` and not on where a run was
    interrupted.

    Args:
        attack: an attack of this room on predictions, such as `worst_case`, or a function of a module that is called
            like one.
        ensemble, x, y: what the attack is given.
        folder: where parts are kept; made if need be.
        images_per_part: images of one part.
        settings: everything else that the attack is given; objectives by name or as functions of a module.

    Returns:
        The result on all images.

    Raises:
        ValueError: an attack on explanations; or an attack or objective made on the spot (a lambda, a function within
            a function, a method), which nothing tells from another one in the next run.

    >>> from tempfile import TemporaryDirectory
    >>> from holdfast.attacks import fgsm
    >>> from holdfast.budget import Budget
    >>> ensemble, x = Ensemble.from_networks(torch.nn.Linear(3, 2)), torch.rand(5, 3)
    >>> given = dict(budget=Budget("linf", .1))
    >>> with TemporaryDirectory() as folder:
    ...     result = in_parts(fgsm, ensemble, x, ensemble.predict(x), folder=folder, images_per_part=2, **given)
    >>> result.images.shape
    torch.Size([1, 5, 3])
    """
    _check_named(attack, settings)
    check_ensemble("in_parts", ensemble)
    check_images("in_parts", x)
    check_labels("in_parts", y, len(x))
    check_count("in_parts", "images_per_part", images_per_part)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = digest(*(part for name, value in sorted(ensemble.weights.items()) for part in (name, value)))
    case = (__version__, architecture_of(ensemble.network), weights, text_of(attack), text_of(settings))
    parts = []
    for start in track(range(0, len(x), images_per_part), f"{attack.__name__}, parts"):
        rows = slice(start, start + images_per_part)
        key = digest(*case, x[rows], y[rows])
        path = folder / f"{attack.__name__}-{start:06d}-{key[:16]}.safetensors"
        part = _read(path, x.device) if path.exists() else None
        if part is None:
            part = attack(ensemble, x[rows], y[rows], **settings)
            _write(path, part)
        parts.append(part)
    return joined(parts)


def joined(parts: Sequence[Attacked]) -> Attacked:
    """The result on all images from results on some each, of one attack with one setting."""
    first = parts[0]
    tensors = {
        name: torch.cat([getattr(p, name) for p in parts], dim=0 if name == "clean_predicted" else 1)
        for name in TENSORS
    }
    settings = dict(first.settings)
    if "broken_by" in settings:  # counts of images
        stages = settings["broken_by"]
        settings["broken_by"] = {
            stage: [sum(counts) for counts in zip(*(p.settings["broken_by"][stage] for p in parts), strict=True)]
            for stage in stages
        }
    masking = merged([p.masking for p in parts]) if all(p.masking for p in parts) else None
    if masking:  # of all images, not of those that stand for the rest
        masking = masking_checks.of({**masking.figures, **by_stage(settings, sum(p.images.shape[1] for p in parts))})
    return Attacked(name=first.name, epsilons=first.epsilons, settings=settings, masking=masking, **tensors)


def _check_named(attack: Callable, settings: dict[str, Any]) -> None:
    if not hasattr(attack, "__name__"):
        raise TypeError(f"in_parts: attack must be a function of this room, such as worst_case, got {attack!r}.")
    if "explain" in settings:
        raise ValueError(
            f"in_parts: {attack.__name__} attacks explanations, whose objectives may know the images by number; call "
            "it on some images after the other."
        )
    for name, value in {"attack": attack, **settings}.items():
        if callable(value) and (
            "<" in getattr(value, "__qualname__", "<")
            or hasattr(value, "__self__")
            or getattr(value, "__closure__", None)
        ):
            raise ValueError(
                f"in_parts: {name} is a function made on the spot, or a method, which two runs cannot tell from "
                "another one; pass a function defined in a module"
                f"{'.' if name == 'attack' else ', or its name.'}"
            )


def _write(path: Path, part: Attacked) -> None:
    tensors = {name: getattr(part, name).contiguous() for name in TENSORS}
    facts = dict(
        name=part.name, epsilons=part.epsilons, settings=dict(part.settings), digest=digest(*tensors.values()),
        masking=dict(part.masking.figures) if part.masking else None,
    )  # fmt: skip
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, partial, {"facts": json.dumps(facts)})
    os.replace(partial, path)


def _read(path: Path, device: torch.device) -> Attacked | None:
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in TENSORS}
            facts = json.loads(file.metadata()["facts"])
        if facts.pop("digest") != digest(*tensors.values()):
            raise ValueError("its checksum is wrong")
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        warnings.warn(f"in_parts: {path} is damaged ({error}); computing this part again.", stacklevel=3)
        return None
    moved = {name: value.to(device) for name, value in tensors.items()}
    figures = facts.pop("masking", None)
    masking = masking_checks.of(figures) if figures else None
    return Attacked(**moved, **facts | {"epsilons": tuple(facts["epsilons"])}, masking=masking)
