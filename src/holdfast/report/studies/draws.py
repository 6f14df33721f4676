"""Draws: how many posterior draws stand for the papers' numbers: the scale's number, or all that were fitted."""

from collections.abc import Callable, Mapping

from holdfast.studies.reproduce.fits import size, skipped
from holdfast.studies.reproduce.rules import PRESETS, Settled
from holdfast.studies.reproduce.run import Reproduction
from holdfast.studies.reproduce.study import Panel, Study, studies

POSTERIORS = ("hmc", "mean_field")
Here = Mapping[int, int]  # number of draws in the paper -> here


def draws_here(study: Study, panel: Panel, scale: str) -> dict[int, int]:
    """The number of draws that stands for each number that a panel, or the scale, asks for.

    >>> from holdfast.studies.reproduce.study import study_of
    >>> [draws_here(study_of("BE-F3"), panel, "laptop")[100] for panel in study_of("BE-F3").panels]
    [20, 20, 10]
    """
    settled = [Settled(preset, scale) for preset in PRESETS]
    most = [_fitted(study, panel, one) for one in settled]
    known = None if None in most else max(filter(None, most), default=None)
    asked = {n: settled[0].draws(n) for n in (*panel.draws, *settled[0].scale.draws)}
    return {n: min(here, known) if known else here for n, here in asked.items()}


def draws_of_panels(found: Reproduction) -> Callable[[str, str], Here]:
    """(study, panel) -> `draws_here` of it; of a panel that nobody knows, the scale's numbers."""
    known: dict[tuple[str, str], Here] = {}
    of_scale = Settled("corrected", found.scale).scale.draws
    declared = {**studies(), **{study.id: study for study in found.studies}}

    def here(study: str, title: str) -> Here:
        if (study, title) not in known:
            whole = [s for s in (declared.get(study), studies().get(study)) if s]
            panels = ((s, p) for s in whole for p in s.panels if p.title == title)
            known[study, title] = next((draws_here(s, p, found.scale) for s, p in panels), of_scale)
        return known[study, title]

    return here


def _fitted(study: Study, panel: Panel, settled: Settled) -> int | None:
    """The most draws that a posterior of a panel has under a preset: 0 where there is none, None where nobody says."""
    labels = {"study": study.id, "data": panel.data, "network": panel.network}
    own = [labels | {"treatment": treatment} for treatment in panel.treatments if treatment in POSTERIORS]
    counts = [size(settled, **of) for of in own if not skipped(settled, **of)]
    return None if None in counts else max(counts, default=0)
