"""The page: every section of a result as one HTML file that needs nothing else, and its figures as files beside it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from holdfast.report import caveats, figures, gallery, headline, posteriors, tables, wording
from holdfast.report.figures import Plot
from holdfast.report.frame import Section, render, save
from holdfast.report.view import View
from holdfast.studies.result import CONTROL, Result

FILE = "report.html"


SECTIONS = (
    Section("answer", "The answer"),
    Section("tested", "What was tested"),
    Section("predictions", "Predictions"),
    Section("differences", "Differences, image by image"),
    Section("chance", "Against chance"),
    Section("softmax", "Predictions and explanations together"),
    Section("labels", "Labels kept, labels changed"),
    Section("examples", "Examples"),
    Section("layers", "Inside the network"),
    Section("statistics", "Statistics"),
    Section("masking", "Did the attack work?"),
    Section("inference", "Inference"),
    Section("posteriors", "Posteriors: mixed or not"),
    Section("settings", "Settings, versions, checksums"),
    Section("limits", "What these numbers do not say"),
    Section("reproduce", "How to reproduce"),
)


def write(result: Result, folder: Path | str) -> Path:
    """Write the report of a result.

    The page is one self-contained HTML file: no request leaves it, it follows light and dark, prints on A4 and fits a
    phone. Its figures are written besides as SVG and PNG files into `folder/figures`. The same result gives the same
    bytes. Files are replaced only when they are complete.

    Args:
        result: what a study found.
        folder: where to; made if need be.

    Returns:
        Path of the page, `folder/report.html`.

    Raises:
        TypeError: `result` is not a `Result`.
    """
    if not isinstance(result, Result):
        raise TypeError(f"report.write: expected a holdfast.studies.result.Result, got {type(result).__name__}.")
    folder, view = Path(folder), View(result)
    drawn = _draw(view)
    text = _render(view, drawn)
    for plot in _flat(drawn.values()):
        save(folder / "figures" / f"{plot.name}.svg", plot.svg.encode())
        save(folder / "figures" / f"{plot.name}.png", plot.png)
    sheet = gallery.sheet(view)
    if sheet is not None:
        save(folder / "figures" / "examples.png", sheet)
    save(folder / FILE, text.encode())
    return folder / FILE


def _draw(view: View) -> dict[str, Any]:
    """Every figure, by the name that its section's template calls it."""
    return {
        "forest": [p for p in (figures.by_attack(view),) if p],
        "differences": figures.differences(view),
        "survival": figures.survival(view),
        "scatter": figures.scatter(view),
        "labels": [p for p in (figures.by_subset(view),) if p],
        "layers": figures.layers(view),
        "accuracy": figures.accuracy(view),
        "curves": {
            e.name: figures.curves(view, e.name, e.diagnostics)
            for e in view.result.ensembles
            if e.diagnostics is not None
        },
        "mixing": [] if view.result.diagnosis is None else _mixing(view.result),
    }


def _mixing(result: Result) -> list[Plot]:
    titles = {name: result.ensemble(name).title for name in result.diagnosis.verdicts}
    return figures.mixing(result.diagnosis, titles)


def _render(view: View, drawn: dict[str, Any]) -> str:
    present = {
        "layers": bool(drawn["layers"]),
        "examples": view.result.gallery is not None,
        "posteriors": view.result.diagnosis is not None,
    }
    answer = headline.headline(view)
    return render(
        "page.html.j2",
        title=view.result.title,
        description=answer.sentence,
        version=view.result.versions.get("holdfast", ""),
        sections=[s for s in SECTIONS if present.get(s.anchor, True)],
        view=view,
        result=view.result,
        primary=view.primary,
        norm=wording.norm_title(view.norm),
        control=CONTROL,
        headline=answer,
        caveats=caveats.caveats(view),
        tables=tables,
        posteriors=posteriors,
        drawn=drawn,
        examples=gallery.examples(view),
        scale_bar=gallery.scale_bar(),
    )


def _flat(values: Iterable[Any]) -> Iterable[Plot]:
    for value in values:
        if isinstance(value, Plot):
            yield value
        else:
            yield from _flat(value.values() if isinstance(value, dict) else value)
