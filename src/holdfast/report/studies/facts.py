"""Facts: how a reproduction was run: sizes of its scale, what every name meant, versions, machine, times."""

import os
import platform
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.machine import total_memory
from holdfast.report.studies.names import data_title, treatment_title
from holdfast.report.studies.sizes import images_tested, images_trained, own_widths, training_seeds, widths
from holdfast.report.wording import NBSP, attack_title, listing, plain
from holdfast.studies.reproduce.kept import KeptRun
from holdfast.studies.reproduce.plan import Part, plan
from holdfast.studies.reproduce.rules import Scale, Section, Settled
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import Panel, Study, studies
from holdfast.studies.stage_key import versions

MEANT = {
    "smoke": "This run proves that every figure can be computed, and nothing else. Small networks were trained for "
    "moments on {train} images{data}, with {draws} draws where the papers have 100: its verdicts say nothing about the "
    "papers.",
    "laptop": "Fewer test images and draws than in the papers ({draws} draws instead of 100; paper BE has 500 images), "
    "so intervals are wider, and narrower networks (as corrected {networks} in most figures; “How it was run” has all "
    "widths). Test images: {tested}. Training images: {trained}. What else differs stands with each figure.",
    "paper": "",
}


def command(found: Reproduction, chosen: Sequence[Study], preset: str = "") -> str:
    """What runs some of the studies again: those that are whole together, each that is not with its panels alone."""
    preset = preset or ("" if len(found.presets) > 1 else found.presets[0])
    by_panels: dict[tuple[str, ...], list[str]] = {}
    for study in chosen:
        whole = studies().get(study.id, study)
        titles = tuple(panel.title for panel in study.panels)
        by_panels.setdefault(titles if len(titles) < len(whole.panels) else (), []).append(study.id)
    options = [*(["--preset", preset] if preset else []), "--scale", found.scale]
    return " && ".join(
        " ".join(["holdfast reproduce", *ids, *options, *(f"--panel {shlex.quote(title)}" for title in titles)])
        for titles, ids in by_panels.items()
    )


def settled(found: Reproduction, preset: str = "corrected") -> Settled:
    """What every name meant in a run."""
    return Settled(preset, found.scale)


def meant(found: Reproduction) -> str:
    """What a run at this scale shows and does not show."""
    scale = settled(found).scale
    stands = f" ({listing(sorted({f'{data_title(v)} in place of all image data' for v in scale.data.values()}))})"
    words = {"train": plain(scale.train), "draws": scale.draws.get(100, 100), **_images(_parts(found), scale)}
    words["networks"] = listing(f"{name} of {own} units" for name, own, _ in own_widths(found.scale))
    return MEANT.get(found.scale, "").format(data=stands if scale.data else "", **words)


def sizes(found: Reproduction) -> dict[str, str]:
    """How large everything was."""
    scale: Scale = settled(found).scale
    parts = _parts(found)
    images = _images(parts, scale)
    rows = {
        "Scale": scale.title,
        "Test images": images["tested"],
        "Training images": images["trained"],
        "Training seeds": images["seeds"],
        "k": f"{plain(scale.k)}{NBSP}%, and the figure's own",
        "Networks": ". ".join(
            f"Units in a layer of {name}: {widths(parts, name, own)}; the papers: {whole}"
            for name, own, whole in own_widths(found.scale)
        ),
        "Draws": listing(f"{here} for the papers' {there}" for there, here in sorted(scale.draws.items()))
        or "as the papers",
        "Data": listing(f"{data_title(here)} for {data_title(there)}" for there, here in scale.data.items())
        or "the papers'",
        "Time": f"{duration(_all_seconds(found))} of computation on one core, all figures together"
        f"{', what several runs share counted in each' if found.kept else ''}",
    }
    if found.retried:
        count = "1 cell was" if len(found.retried) == 1 else f"{plain(len(found.retried))} cells were"
        rows["Retried"] = f"{count} begun again, because the process that computed them was lost"
    if found.kept:  # the runs say theirs
        return rows
    return rows | {"Machine": machine(), "Versions": ", ".join(f"{k} {v}" for k, v in versions().items())}


def runs(found: Reproduction) -> list[dict[str, Any]]:
    """The runs that the page is made of, the earlier first, this one last; none where this one is the only one."""
    if not found.kept:
        return []
    own = {"machine": machine(), "seconds": found.seconds, "studies": [s.id for s in found.studies]}
    own |= {"versions": versions(), "again": command(found, found.studies)}
    told = [run.model_dump() for run in found.kept.runs]
    return [
        {
            "figures": listing(list(run["studies"])),
            "time": duration(run["seconds"]),
            "machine": run["machine"],
            "versions": ", ".join(f"{k} {v}" for k, v in run["versions"].items()),
            "again": run["again"],
        }
        for run in (*told, *([own] if found.studies else []))
    ]


def _images(parts: Sequence[Part], scale: Scale) -> dict[str, str]:
    """Test images, training images and seeds of all that the page shows."""
    told = {"tested": images_tested(parts, scale.points), "trained": images_trained(parts, scale.train)}
    return told | {"seeds": training_seeds(parts, scale.seeds)}


def _parts(found: Reproduction) -> list[Part]:
    """The plan of all that the page shows."""
    kept = found.kept.panels if found.kept else ()
    earlier = (study.only([title for name, title in kept if name == study.id]) for study in studies().values())
    chosen = [*found.studies, *(study for study in earlier if study)]
    return plan(chosen, found.scale, found.presets, data_dir=found.data_dir)


def machine() -> str:
    """The class of machine that wrote the page."""
    model = ""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        model = platform.processor()
    return (
        f"{os.cpu_count()} cores{f' ({model})' if model else ''}, {total_memory() / 2**30:.0f} GiB, {platform.system()}"
    )


def _all_seconds(found: Reproduction) -> float:
    return found.seconds + sum(run.seconds for run in (found.kept.runs if found.kept else ()))


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(7.2), duration(600), duration(9000)
    ('7 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def meanings(found: Reproduction) -> dict[str, dict[str, Mapping[str, Any]]]:
    """What treatments and attacks meant: preset -> title -> settings, as of the newest run's first panel that has each.

    Of an earlier run those alone that a panel has which still is that run's.
    """
    said: dict[str, dict[str, Mapping[str, Any]]] = {}
    earlier = [_still_its_own(run, found.scale) for run in found.kept.runs] if found.kept else []
    for run in (*earlier, {preset: _of(found, preset) for preset in found.presets}):
        for preset, rows in run.items():
            said[preset] = said.get(preset, {}) | rows
    return said


def _still_its_own(run: KeptRun, scale: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    """The settings of an earlier run that say something of the panels which were not computed again since."""
    own = {}
    for preset, rows in run.settings.items():
        panels = {(name, title) for name, told in run.studies.items() for title, p in told.panels.items()
                  if preset not in p.missing}  # fmt: skip
        names = {
            title
            for study in studies().values()
            for panel in study.panels
            if (study.id, panel.title) in panels
            for title, *_ in _names(panel, Settled(preset, scale))
        }
        own[preset] = {title: meaning for title, meaning in rows.items() if title in names}
    return own


def _of(found: Reproduction, preset: str) -> dict[str, Mapping[str, Any]]:
    rows: dict[str, Mapping[str, Any]] = {}
    for study in found.studies:
        for panel in study.panels:
            for title, meaning in of_panel(found, preset, study, panel).items():
                rows.setdefault(title, meaning)
    return rows


def of_panel(found: Reproduction, preset: str, study: Study, panel: Panel) -> dict[str, Mapping[str, Any]]:
    """What treatments and attacks mean in one panel: title -> settings."""
    known, labels = settled(found, preset), {"study": study.id, "data": panel.data, "network": panel.network}
    rows = {title: known.of(section, **labels, **own) for title, section, own in _names(panel, known)}
    return {title: {k: v for k, v in meaning.items() if k != "single"} for title, meaning in rows.items() if meaning}


def _names(panel: Panel, known: Settled) -> Iterator[tuple[str, Section, dict[str, str]]]:
    """(title, section of the settings, label) of every treatment and attack of a panel, controls among them."""
    for treatment in (*panel.treatments, *known.preset.controls):
        yield treatment_title(treatment), "fit", {"treatment": treatment}
    for attack in (*panel.attacks, *known.preset.control_attacks):
        yield f"Attack: {attack_title(attack)}", "attack", {"attack": attack}
