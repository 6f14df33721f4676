"""Which studies `holdfast reproduce` runs: those that were asked for, less what is kept, or is not finished."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.studies.engine import Store
    from holdfast.studies.reproduce.kept import Kept
    from holdfast.studies.reproduce.study import Study


def chosen_studies(figures: list[str], panels: list[str] | None) -> "list[Study]":
    """The studies that were asked for, with the panels that were."""
    from holdfast.studies.reproduce.study import studies, study_of

    chosen = list(studies().values()) if figures == ["all"] else [study_of(name) for name in dict.fromkeys(figures)]
    return _panels(chosen, panels, strict=figures != ["all"]) if panels else chosen


def to_add(
    kept: "Kept | None", home: "Path", chosen: "list[Study]", scale: str, data_dir: "Path | None" = None
) -> "tuple[list[Study], str]":
    """The studies with the panels alone that are lacking in the kept results, and a line for the user."""
    from holdfast import report

    if kept is None:
        return chosen, f"Nothing is kept in {home} yet: all of it is computed.\n"
    report.check_kept(kept)
    rest = kept.lacks(chosen, scale, data_dir)
    return rest, "" if rest else f"{home} has all of what was asked for: its claims are judged anew.\n"


def no_outdated(kept: "Kept", scale: str, data_dir: "Path | None" = None) -> None:
    """Refuse to mix numbers of other settings into the claims; a panel that has none yet may stay so."""
    if outdated := sorted(name for name in kept.outdated(scale, data_dir) if not kept.is_empty(name)):
        named = ", ".join(f"{study} {panel!r}" for study, panel in outdated[:5])
        raise ValueError(
            f"reproduce: {named}{' and more' if len(outdated) > 5 else ''} in {kept.folder} had other settings than "
            "now. Compute them again in the same call, or keep the results anew, without --add."
        )


def _panels(chosen: "list[Study]", titles: list[str], strict: bool) -> "list[Study]":
    """The studies with these panels alone; strictly, each must have one."""
    found = {study.id: study.only(titles) for study in chosen}
    for study in chosen if strict else ():
        if found[study.id] is None:
            raise ValueError(
                f"reproduce: {study.id} has no panel called {' or '.join(map(repr, titles))}; its panels are "
                f"{', '.join(repr(own.title) for own in study.panels)}."
            )
    if not any(found.values()):
        raise ValueError(f"reproduce: no figure has a panel called {' or '.join(map(repr, titles))}.")
    return [only for only in found.values() if only]


def finished_studies(
    chosen: "list[Study]", store: "Store", scale: str, presets: Sequence[str], which: str
) -> "list[Study]":
    """The studies with their finished panels alone; there must be some."""
    from holdfast.studies.reproduce.plan import finished

    found = finished(chosen, store, scale, presets)
    if not found:
        raise ValueError(
            f"reproduce: no panel of what was asked for{which} is finished in {store.bucket or store.path} with this "
            "installation and these settings; without --finished it is computed."
        )
    return found
