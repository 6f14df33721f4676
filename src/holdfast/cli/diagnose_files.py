"""What `holdfast diagnose` writes: everything as JSON, figures, predictions for ArviZ; looked at before any work.

A file's folder must be there, as for `Ensemble.save`; folders that are named themselves are made.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.diagnostics import Diagnosis
    from holdfast.ensemble import Ensemble


def check_files(json: Path | None, figures: Path | None, export: Path | None) -> None:
    """Raise where what is asked for cannot be written, before anything is computed.

    Raises:
        ValueError: what the export needs is not installed.
        OSError: a file or a folder that cannot be written.
    """
    if export is not None:
        from holdfast.diagnostics.export import require_xarray

        try:
            require_xarray()
        except ImportError as error:
            raise ValueError(str(error)) from None
    if json is not None:
        if json.is_dir():
            raise IsADirectoryError(f"diagnose: --json {json} is a folder; name a file in it, such as {json}/a.json.")
        if not json.parent.is_dir():
            raise FileNotFoundError(f"diagnose: there is no folder {json.parent} for --json {json}; make it first.")
        _check_writable("--json", json, json.parent)
    for option, folder in (("--figures", figures), ("--export", export)):
        if folder is not None:
            _check_writable(option, folder, next(p for p in (folder, *folder.absolute().parents) if p.exists()))


def _check_writable(option: str, path: Path, folder: Path) -> None:
    """Try it: neither permissions nor the kind of a file system say it all."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".holdfast-"):
            pass
    except OSError as error:
        raise OSError(
            f"diagnose: {option} {path} cannot be written: no file can be made in {folder} ({error.strerror}); nothing "
            "has been computed yet, choose another place."
        ) from error


def write_files(
    found: "Diagnosis",
    ensembles: "dict[str, Ensemble]",
    test: Any,
    json: Path | None,
    figures: Path | None,
    export: Path | None,
    points: int,
) -> list[Path]:
    """Write what is asked for, each file whole or not at all; gives the files.

    Args:
        found: the diagnosis.
        ensembles: the draws, by name.
        test: the test images.
        json, figures, export: a file and two folders, or None.
        points: images whose predictions are exported.
    """
    import json as text

    from holdfast.data import balanced_subset
    from holdfast.report.figures import mixing
    from holdfast.studies.atomic import atomic

    files: list[tuple[Path, bytes]] = []
    if json is not None:
        files.append((json, (text.dumps(found.as_json(), indent=1, allow_nan=False) + "\n").encode()))
    if figures is not None:
        for plot in mixing(found):
            files += [(figures / f"{plot.name}.svg", plot.svg.encode()), (figures / f"{plot.name}.png", plot.png)]
    for file, content in files:
        with atomic(file) as partial:
            partial.write_bytes(content)
    written = [file for file, _ in files]
    if export is not None:
        from holdfast.diagnostics import write_arviz
        from holdfast.report.figures.canvas import slug

        export.mkdir(parents=True, exist_ok=True)
        few = balanced_subset(test, min(points, len(test)), found.settings["seed"])
        written += [write_arviz(export / f"{slug(name)}.nc", e, few) for name, e in ensembles.items()]
    return written
